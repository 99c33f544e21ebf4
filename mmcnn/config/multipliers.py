"""Learning-rate and decay multipliers of a backbone, which a config sets for its original backbone."""

from __future__ import annotations

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmcnn.config.paths import entry
from mmcnn.models.wiring import backbone_of

PLACE = 'optim_wrapper.paramwise_cfg.custom_keys'


def settle_multipliers(cfg: Config) -> list[str]:
    """Drop the ``custom_keys`` of ``paramwise_cfg`` that name parts of the old backbone.

    Those of the whole backbone (``backbone``) stay; DETR's, for example, learns ten times slower than the rest.

    Args:
        cfg: with the new backbone; changed in place.

    Returns:
        a sentence about each dropped or kept multiplier.
    """
    keys, backbone = entry(cfg, PLACE), backbone_of(cfg.get('model', {}))
    if not isinstance(keys, dict) or backbone is None or not any(key.startswith('backbone') for key in keys):
        return []
    with DefaultScope.overwrite_default_scope('mmdet'), torch.device('meta'):
        names = [f'backbone.{name}' for name, _ in MODELS.build(backbone).named_parameters()]
    notes = []
    for key in [key for key in keys if key.startswith('backbone')]:
        value = dict(keys[key])
        if any(key in name for name in names):
            notes.append(f'{PLACE}: {key}={value} is kept for the new backbone')
        else:
            del keys[key]
            notes.append(f'{PLACE}: {key}={value} names a part of the old backbone and is dropped')
    return notes
