"""The weights inside a file that a training program saved, and their names there."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any

from mmcnn.errors import CheckpointError
from mmcnn.weights.report import NAMED_KEYS

#: Entries in which training programs store weights, in order of preference.
ENTRIES = ('state_dict', 'model', 'model_state_dict', 'net', 'network', 'weights', 'params')
#: What PyTorch's own wrappers add to names: torch.compile, FullyShardedDataParallel, checkpoint_wrapper.
WRAPPERS = ('_orig_mod', '_fsdp_wrapped_module', '_checkpoint_wrapped_module')


def weights_in(content: Any, kind: type | UnionType) -> tuple[str, Mapping[str, Any]]:
    """Return the entry of a file's content that holds the weights, and the weights.

    Args:
        content: The content of the file.
        kind: The type of tensors: PyTorch's, or the stand-in for one that is not read yet.

    Returns:
        The name of the entry, ``''`` if the content itself is the state dict; and name to tensor.

    Raises:
        CheckpointError: There is no dict, or none of tensors, or several with no indication of which one is meant.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(f'a checkpoint must be a dict, but this is a {type(content).__name__}')
    if 'state_dict' not in content and _is_state(content, kind):
        return '', content
    found = states_in(content, kind)
    known = [name for name in ENTRIES if name in found]
    if known or len(found) == 1:
        name = (known or found)[0]
        return name, content[name]
    entries = ', '.join(map(str, list(content)[:NAMED_KEYS]))
    if found:
        raise CheckpointError(
            f'the checkpoint holds weights in {" and in ".join(found[:NAMED_KEYS])}, and it is unclear which to use: '
            "save one of them as 'state_dict'"
        )
    if 'state_dict' not in content and any('optim' in str(name) for name in content):
        raise CheckpointError(f'the checkpoint holds an optimizer state but no weights; its entries: {entries}')
    kind = 'has a state_dict that is not a dict of tensors' if 'state_dict' in content else 'has no state_dict'
    raise CheckpointError(f'the checkpoint {kind}; its entries: {entries}')


def states_in(content: Mapping[str, Any], kind: type | UnionType) -> list[str]:
    """Return the entries that could be the weights: ``state_dict`` if there is one, else each dict of tensors."""
    names = ['state_dict'] if 'state_dict' in content else list(content)
    return [name for name in names if isinstance(name, str) and _is_state(content[name], kind)]


def _is_state(value: Any, kind: type | UnionType) -> bool:
    """Return whether a value is a dict of at least one tensor and nothing else."""
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(key, str) and isinstance(each, kind) for key, each in value.items())
    )


def without_wrappers(state: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the tensors without what PyTorch's wrappers add to their names, and what was removed.

    ``module.`` of a distributed wrapper is removed if every name begins with it; the others are never chosen as names
    by people, and are removed wherever they occur.
    """
    inner = {'.'.join(part for part in key.split('.') if part not in WRAPPERS): value for key, value in state.items()}
    if len(inner) < len(state):  # two names would become one
        return dict(state), []
    taken = [f'{word}.' for word in WRAPPERS if any(word in key.split('.') for key in state)]
    while inner and all(key.startswith('module.') for key in inner):
        inner = {key.removeprefix('module.'): value for key, value in inner.items()}
        taken = list(dict.fromkeys(['module.', *taken]))
    return inner, taken
