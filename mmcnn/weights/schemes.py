"""``init_cfg`` of MMDetection's own parts: published weights by address, without torchvision.

MMEngine 0.10.7 asks torchvision for its list before it looks up ``torchvision://resnet50`` in its own list, so that
training MMDetection's unmodified configs ends in a traceback if torchvision is missing or does not match the installed
torch, and in another one without a network. Here the same addresses lead to the same files, which are verified against
the hashes in their names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import load_from_local, load_from_openmmlab, load_from_torchvision

from mmcnn.errors import CheckpointError
from mmcnn.weights.addresses import fetch, resolve

#: Prefix -> the scheme that it is an alias of, and MMEngine's loader for names that its own list does not have.
SCHEMES: dict[str, tuple[str, Callable[..., Any] | None]] = {
    'torchvision://': ('torchvision://', load_from_torchvision),
    'modelzoo://': ('torchvision://', load_from_torchvision),
    'open-mmlab://': ('open-mmlab://', load_from_openmmlab),
    'openmmlab://': ('open-mmlab://', load_from_openmmlab),
    'http://': ('http://', None),
    'https://': ('https://', None),
}


def register_schemes() -> None:
    """Make MMEngine load every address of :data:`SCHEMES` by :func:`load_published`; harmless to repeat."""
    CheckpointLoader.register_scheme(prefixes=[*SCHEMES], loader=load_published, force=True)


def load_published(filename: str, map_location: Any = None) -> Any:
    """Return a file of published weights as ``torch.load`` reads it, like MMEngine's loaders.

    Args:
        filename: an address.
        map_location: see ``torch.load``.

    CheckpointError: the name is unknown or the file not available; the message says how to train without it.
        CheckpointError: there is no such name, or the file cannot be had; says how to train without it.
    """
    prefix = next(each for each in SCHEMES if filename.startswith(each))
    scheme, others = SCHEMES[prefix]
    address = scheme + filename.removeprefix(prefix)
    try:
        resolve(address)
    except CheckpointError as unknown:
        if others is None:
            raise
        try:  # a name of newer releases of torchvision, or one that has changed
            return others(filename, map_location=map_location)
        except (ImportError, RuntimeError, KeyError, OSError):
            raise unknown from None
    try:
        return load_from_local(str(fetch(address).path), map_location)
    except CheckpointError as error:
        raise CheckpointError(
            f'{error}; to start without these weights, set init_cfg=None in the config '
            '(cfg_options model.backbone.init_cfg=None), or give a file there'
        ) from error
