"""The config inside a checkpoint, read as data: a checkpoint must not run code, so neither must its config."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmcnn.compat.moved import moved_names, renamed_arguments
from mmcnn.errors import CheckpointError
from mmcnn.weights.own_modules import recorded_imports
from mmcnn.weights.recorded_types import UnknownTypeError, check_types, refused

__getattr__ = moved_names(__name__)

#: Takes a dict of a config, its node and the file's path, and returns the dict.
Check = Callable[[dict, ast.expr, str], dict]
#: Settings of a data preprocessor for the colours of images.
NORMALISATION = ('mean', 'std', 'bgr_to_rgb', 'rgb_to_bgr')


@renamed_arguments(source='path')
def recorded_config(checkpoint: dict, path: str) -> Config:
    """Return the config that a run wrote into its checkpoint (``meta['cfg']``).

    MMEngine stores a config as Python text and reads such text by executing it, and a registry imports any dotted name
    that it does not know (``mmengine.put_text`` would write any file). Here the text may only contain literals and
    ``dict(...)``, and each ``type`` must be a name registered for a part that is known to be harmless.

    Args:
        checkpoint: the return value of :func:`~mmcnn.weights.checkpoint.read_checkpoint`.
        path: path of the file, for messages.

    Raises:
        CheckpointError: there is no config, or it is more than data.
    """
    text = checkpoint.get('meta', {}).get('cfg')
    if not isinstance(text, str):
        raise CheckpointError(f'{path} holds no config (meta.cfg); give the config that it was trained with')
    values = parse_literals(text, path)
    try:
        return Config(values)
    except KeyError as error:  # a name that MMEngine reserves
        raise CheckpointError(f'the config inside {path} cannot be read: {error.args[0]}') from error


def recorded_entries(checkpoint: dict) -> Config:
    """Return the same config for reading only, never for building: unknown types do no harm then.

    Returns:
        The entries; empty if the file has no config, or one that is more than data.
    """
    text = checkpoint.get('meta', {}).get('cfg')
    try:
        return Config(
            parse_literals(text, '', check=lambda values, node, path: values) if isinstance(text, str) else {}
        )
    except (CheckpointError, KeyError):
        return Config()


def other_normalisation(preprocessor: Mapping[str, Any] | None, checkpoint: dict, path: str | Path) -> str | None:
    """Return a sentence if a run normalised its images differently from a data preprocessor; else None.

    Only these numbers of the recorded config are read and nothing is built, so its other entries do no harm.

    Args:
        preprocessor: ``model.data_preprocessor`` of a complete config; None: unknown.
        checkpoint: a checkpoint with the ``meta`` that the run wrote.
        path: path of the file, for the sentence.
    """
    theirs = _recorded_preprocessor(checkpoint)
    if preprocessor is None or theirs is None:
        return None
    own = {name: _plain(preprocessor.get(name)) for name in NORMALISATION}
    theirs = {name: _plain(theirs.get(name)) for name in NORMALISATION}
    other = [name for name in NORMALISATION if (own[name] or None) != (theirs[name] or None)]
    if not other:
        return None
    trained, now = (', '.join(f'{name}={each[name]}' for name in other) for each in (theirs, own))
    return (
        f'warning: {path} was trained with {trained} in model.data_preprocessor, but this config has {now}: the '
        'results will be wrong; use the values of the training'
    )


def _recorded_preprocessor(checkpoint: dict) -> dict[str, Any] | None:
    """Return the :data:`NORMALISATION` entries of the recorded data preprocessor; None if the file has none."""
    text = checkpoint.get('meta', {}).get('cfg')
    try:
        assigned = {ast.unparse(each.targets[0]): each.value for each in ast.parse(text).body}
        model = _entries(assigned['model'])
        entries = _entries(model['data_preprocessor'])
        found = {name: ast.literal_eval(entries[name]) for name in NORMALISATION if name in entries}
        wired_later = ast.literal_eval(model['type']) == 'mmcnn.wired' and not found
    except (AttributeError, KeyError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        return None  # no text, or not written as literals
    return None if wired_later else found


def _entries(node: ast.expr) -> dict[str, ast.expr]:
    match node:
        case ast.Call(func=ast.Name(id='dict'), args=[], keywords=keywords):
            return {keyword.arg: keyword.value for keyword in keywords}
        case ast.Dict(keys=keys, values=values):
            return {ast.literal_eval(key): value for key, value in zip(keys, values, strict=True)}
    raise TypeError(f'{ast.unparse(node)[:80]} is not a dict')


def _plain(value: Any) -> Any:
    return [float(each) for each in value] if isinstance(value, Sequence) else value


@renamed_arguments(source='path')
def refuse_code_in_meta(checkpoint: dict, path: str) -> None:
    """Raise an error for a checkpoint to resume from whose ``meta['config']`` is more than data.

    MMEngine's ``Runner.resume`` executes that entry as Python (old MMCV runs have it; new ones write ``meta['cfg']``).

    Raises:
        CheckpointError: the entry is not plain data.
    """
    text = checkpoint.get('meta', {}).get('config')
    if text is not None:
        parse_literals(str(text), path)


@renamed_arguments(source='path')
def parse_literals(text: str, path: str, check: Check | None = None) -> dict[str, Any]:
    """Return the assignments of literals and ``dict(...)`` by name.

    Args:
        text: text of the config.
        path: path of the file, for messages.
        check: takes each dict with its node and the path, and returns it; None: rejects types that may do harm.

    Raises:
        CheckpointError: the text contains anything else; the message gives the line.
    """
    values = {}
    try:
        for statement in ast.parse(text).body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    values[name] = _literal(value, path, check or check_types)
                case _:
                    raise refused(statement, path)
    except UnknownTypeError as error:
        raise error.with_imports(recorded_imports(text)) from None
    except CheckpointError:
        raise
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise CheckpointError(f'the config inside {path} cannot be read: {error}') from error
    return values


def _literal(node: ast.expr, path: str, check: Check) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float()) | ast.Name(id='inf') as operand):
            return -_literal(operand, path, check)
        case ast.Name(id='inf' | 'nan' as name):  # how repr writes them
            return float(name)
        case ast.List(elts=items):
            return [_literal(item, path, check) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_literal(item, path, check) for item in items)
        case ast.Set(elts=items):
            return {_literal(item, path, check) for item in items}
        case ast.Dict(keys=keys, values=values) if all(key is not None for key in keys):
            pairs = zip(keys, values, strict=True)
            return check({_literal(key, path, check): _literal(value, path, check) for key, value in pairs}, node, path)
        case ast.Call(func=ast.Name(id='dict'), args=[], keywords=keywords) if all(k.arg for k in keywords):
            return check({k.arg: _literal(k.value, path, check) for k in keywords}, node, path)
        case ast.Call(func=ast.Name(id='dict'), args=[ast.Dict() as items], keywords=[]):  # keys that are not names
            return _literal(items, path, check)
    raise refused(node, path)
