"""Configs: found by name or in a checkpoint, changed by ``--cfg-options`` and ``--backbone``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmcnn.errors import UsageError
from mmcnn.nearest import nearest
from mmcnn.runs.model import refusals
from mmcnn.weights.checkpoint import read_checkpoint

PACKAGE = Path(__file__).resolve().parents[1]
#: The entry that ``--backbone`` sets.
BACKBONE = 'model.backbone.type'


def config_folder() -> Path:
    """``configs/``: beside the package in a checkout, inside it after a plain install."""
    installed = PACKAGE / '.mim' / 'configs'
    return installed if installed.is_dir() else PACKAGE.parent / 'configs'


def load_config(name: str, options: dict[str, Any] | None = None) -> Config:
    """A config by its path or by the name of one that comes with mmcnn, with overrides.

    A config is a program: loading one runs it.

    Raises:
        UsageError: there is no such file or name (the nearest are listed), or the file cannot be read as a config.
    """
    path = Path(name)
    if not path.is_file():
        folder = config_folder()
        # "configs/yolov4.py" typed in another folder means the one that comes with mmcnn, too.
        own = {str(p.relative_to(folder).with_suffix('')): p for p in folder.rglob('*.py') if '_base_' not in p.parts}
        wanted = name.removeprefix('configs/').removesuffix('.py')
        if wanted not in own:
            raise UsageError(f"there is no config file '{name}', and none of that name comes with mmcnn; "
                             f'{nearest(wanted, own)}')  # fmt: skip
        path = own[wanted]
    try:
        cfg = Config.fromfile(path)
    except (SyntaxError, KeyError, TypeError, AttributeError, OSError) as error:
        raise UsageError(f"'{path}' is no usable config: {error}") from error
    merge_options(cfg, options)
    return cfg


def config_and_checkpoint(config: str | None, path: str, options: dict[str, Any] | None) -> tuple[Config, dict]:
    """A checkpoint, and its config: the named one, else the one that the run recorded in the checkpoint.

    A file of weights of another kind (Darknet's, safetensors) has nothing to say beside them: the dict is empty.

    Raises:
        UsageError, CheckpointError: what is missing or does not fit.
    """
    from mmcnn.weights.files import format_of

    if config is not None and format_of(path) != 'pytorch':
        return load_config(config, options), {}
    checkpoint = read_checkpoint(path)
    if config is not None:
        return load_config(config, options), checkpoint
    from mmcnn.weights.recorded_config import recorded_config

    cfg = recorded_config(checkpoint, path)
    merge_options(cfg, options)
    return cfg, checkpoint


def merge_options(cfg: Config, options: dict[str, Any] | None) -> None:
    """Applies ``--cfg-options``, and says which of them make a new entry inside a new one: most often that is a typo.

    Another ``model.backbone.type`` swaps the backbone (:func:`~mmcnn.models.wiring.swap_backbone`), and says what that
    changes.

    Raises:
        UsageError: an entry cannot be set, or the backbone does not go with the model.
    """
    _swap_backbone(cfg, options or {})
    for key in options or {}:
        *parents, _ = key.split('.')
        node = cfg
        for i, parent in enumerate(parents):
            if isinstance(node, dict | Config) and parent not in node:
                where = '.'.join(parents[:i]) or 'the config'
                print(
                    f"note: {where} had no '{parent}' before --cfg-options {key}; {nearest(parent, node)}", flush=True
                )
                break
            node = node[parent] if isinstance(node, dict | Config) else None
    try:
        cfg.merge_from_dict(options or {})
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise UsageError(f'--cfg-options {options} cannot be set: {error}') from error


def _swap_backbone(cfg: Config, options: dict[str, Any]) -> None:
    kind, old = options.get(BACKBONE), cfg.get('model', {}).get('backbone', {}).get('type')
    # A backbone of MMDetection or timm has arguments of its own, which the other options set.
    if kind in (None, old) or not kind.startswith('mmcnn.') or kind == 'mmcnn.TimmBackbone':
        return
    from mmcnn.models.wiring import swap_backbone

    with refusals():
        weights = any(key.startswith('model.backbone.init_cfg') for key in options)
        cfg.model, notes = swap_backbone(cfg.model, kind, weights)
    print(f'backbone: {kind.removeprefix("mmcnn.")} in place of {old}', flush=True)
    for note in notes:
        print(f'note: {note}', flush=True)


def default_work_dir(cfg: Config, chosen: str | None) -> str:
    """``--work-dir``, else ``work_dirs/`` and the config's name."""
    return chosen or cfg.get('work_dir') or str(Path('work_dirs') / Path(cfg.filename or 'mmcnn').stem)


def dicts_in(node: Any) -> Iterator[dict]:
    """Every dict inside a config, outermost first."""
    if isinstance(node, Config):
        node = node._cfg_dict
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from dicts_in(value)
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for value in node:
            yield from dicts_in(value)
