"""All backbones by their short names."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from mmcnn.errors import UsageError
from mmcnn.models.backbones import Backbone
from mmcnn.nearest import nearest
from mmcnn.registry import BACKBONE_FAMILIES


def backbone_families() -> dict[str, type[Backbone]]:
    """Short name of every variant to its family's class, all registered."""
    return BACKBONE_FAMILIES


def list_backbones(pattern: str = '*') -> list[str]:
    """Short names of all backbones that match a shell pattern, sorted.

    ``list_backbones('*darknet*')``. Any of them builds with :func:`build_backbone` or in a config as
    ``dict(type='mmcnn.NAME')``.
    """
    return sorted(name for name in backbone_families() if fnmatchcase(name, pattern))


def build_backbone(name: str, **kwargs: Any) -> Backbone:
    """A backbone by its short name, with PyTorch's own initialisation unless ``init_cfg`` says otherwise.

    Args:
        name: one of :func:`list_backbones`.
        **kwargs: see :class:`mmcnn.models.backbones.Backbone` (``out_indices``, ``frozen_stages``, ...).

    Returns:
        the backbone; ``.out_channels`` and ``.out_strides`` tell its outputs, fine to coarse.

    Raises:
        UsageError: no backbone has this name (the nearest are listed), or an argument does not fit.
    """
    families = backbone_families()
    if name not in families:
        raise UsageError(f"no backbone is called '{name}'; {nearest(name, families)}")
    backbone = families[name](variant=name, **kwargs)
    if kwargs.get('init_cfg'):
        backbone.init_weights()
    return backbone
