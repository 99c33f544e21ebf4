"""Lookup of backbones by their names."""

from __future__ import annotations

from mmengine.config import ConfigDict

from mmcnn.errors import UsageError
from mmcnn.models.families import backbone_families
from mmcnn.models.wiring.parts import ours, short, type_name
from mmcnn.nearest import nearest


def named_backbone(name: str) -> ConfigDict:
    """Return the config of a backbone by its name, without its levels.

    Args:
        name: short name of one of ours, with or without the scope; ``mmdet.TYPE``; or ``timm.NETWORK``.

    Raises:
        UsageError: none of our backbones has this name.
    """
    scope, _, rest = name.partition('.')
    if scope == 'timm' and rest:
        return ConfigDict(type='mmcnn.TimmBackbone', model=rest)
    if scope == 'mmdet' and rest:
        return ConfigDict(type=rest)
    name, families = name.removeprefix('mmcnn.'), backbone_families()
    if name not in families:
        raise UsageError(
            f"unknown backbone '{name}'; {nearest(name, families)}; for other libraries use mmdet.TYPE or timm.NETWORK"
        )
    return ConfigDict(type=f'mmcnn.{name}')


def backbone_of(model: dict) -> dict | None:
    """Return the backbone of a model's config, or of the detector inside it; None: there is none."""
    inner = model.get('detector')
    found = model.get('backbone', inner.get('backbone') if isinstance(inner, dict) else None)
    return found if isinstance(found, dict) else None


def called(backbone: dict) -> str:
    """Return the name of a backbone in messages: without our scope."""
    return short(backbone) if ours(backbone) else type_name(backbone)
