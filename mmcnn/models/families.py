"""All backbones by their short names."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from mmcnn.errors import UsageError
from mmcnn.models.backbones import Backbone
from mmcnn.nearest import nearest
from mmcnn.registry import BACKBONE_FAMILIES


def backbone_families() -> dict[str, type[Backbone]]:
    """Return the family class of every variant by the variant's short name; all of them are registered."""
    return BACKBONE_FAMILIES


def list_backbones(pattern: str = '*') -> list[str]:
    """Return the sorted short names of all backbones that match a shell pattern.

    Example: ``list_backbones('*darknet*')``. Each of them can be built by :func:`build_backbone` or in a config as
    ``dict(type='mmcnn.NAME')``.
    """
    return sorted(name for name in backbone_families() if fnmatchcase(name, pattern))


def build_backbone(name: str, **kwargs: Any) -> Backbone:
    """Build a backbone by its short name, with PyTorch's own initialisation unless ``init_cfg`` says otherwise.

    Args:
        name: one of :func:`list_backbones`.
        **kwargs: see :class:`mmcnn.models.backbones.Backbone` (``out_indices``, ``frozen_stages``, ...).

    Returns:
        The backbone; ``.out_channels`` and ``.out_strides`` describe its outputs, fine to coarse.

    Raises:
        UsageError: no backbone has this name (similar names are listed), or an argument is invalid.
    """
    families = backbone_families()
    if name not in families:
        raise UsageError(f"unknown backbone '{name}'; {nearest(name, families)}")
    backbone = families[name](variant=name, **kwargs)
    if kwargs.get('init_cfg'):
        backbone.init_weights()
    return backbone
