"""Completion of a detector's config that has no channel numbers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from mmdet.registry import MODELS as MMDET_MODELS
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from torch import nn

from mmcnn.errors import UsageError
from mmcnn.models.wiring.images import fill_preprocessor
from mmcnn.models.wiring.parts import arguments, at, is_list, is_part, ours, plain, short
from mmcnn.models.wiring.slots import Levels, Slot, slots
from mmcnn.registry import MODELS

#: Relative tolerance of strides for one fixed image size: 550 / 5 = 110 instead of 128.
FRACTION = 0.2


def wire(model: dict) -> ConfigDict:
    """Return a detector's config with every channel number, every stride and the image normalisation filled in.

    ``dict(type='mmcnn.wired', detector='FasterRCNN', ...)`` becomes the plain ``dict(type='FasterRCNN', ...)``. The
    following are filled in where absent: ``in_channels`` of the neck (or of each neck in a list) and of heads,
    ``strides`` of heads and of generators of anchors and points, channels and strides of RoI extractors
    (:mod:`mmcnn.models.wiring.slots`). A detector inside a detector (``dict(type='SoftTeacher', detector=dict(...))``)
    is wired likewise. ``widen_factor`` and ``deepen_factor`` of the detector multiply those of backbone and neck if
    these are ours and have them. Wiring a wired config changes nothing.

    ``mean``, ``std`` and ``bgr_to_rgb`` of the data preprocessor are filled in from the row of one of our backbones for
    images of three channels, if none of the three is given. This does not apply to a plain config, such as one that a
    run has recorded: if that has none, its network was trained on images that were not normalised.

    Args:
        model: config of a detector with ``backbone``, optional ``neck`` and its heads. It is not changed.

    Raises:
        UsageError: a value contradicts the output of backbone or neck; the message has both.
    """
    cfg = ConfigDict(copy.deepcopy(dict(model)))
    if cfg.get('type') == 'mmcnn.wired':
        if not isinstance(cfg.get('detector'), str):
            raise UsageError("dict(type='mmcnn.wired', ...) needs detector='...', the detector's type in MMDetection")
        fill_preprocessor(cfg)
        cfg.type = cfg.pop('detector')
    if not is_part(cfg.get('backbone')):
        if isinstance(cfg.get('detector'), dict):
            cfg.detector = wire(cfg.detector)
        return cfg
    _spread_factors(cfg)
    for slot in slots(cfg):
        if isinstance(slot, Levels):
            _check_levels(cfg, slot)
        else:
            _fill(cfg, slot)
    return cfg


@MODELS.register_module()
def wired(**model: Any) -> nn.Module:
    """Build a detector of MMDetection from a config without channel numbers; see :func:`wire`.

    ``dict(type='mmcnn.wired', detector='SingleStageDetector', backbone=..., neck=..., bbox_head=...)``: the result is
    the plain detector with its usual class and state-dict keys, also in MMDetection's own tools.
    """
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MMDET_MODELS.build(wire({'type': 'mmcnn.wired', **model}))


def _spread_factors(cfg: ConfigDict) -> None:
    for factor in ('widen_factor', 'deepen_factor'):
        if factor in cfg:
            value = cfg.pop(factor)
            for part in (cfg.backbone, cfg.get('neck')):
                if isinstance(part, dict) and ours(part) and factor in arguments(part):
                    part[factor] = part.get(factor, 1) * value


def _fill(cfg: ConfigDict, slot: Slot) -> None:
    """Fill in a slot, or check it if it is given."""
    part = at(cfg, slot.path)
    written = part.get(slot.key)
    if written is None:
        part[slot.key] = slot.value
    elif not fits(written, slot.value):
        raise UsageError(
            f'{slot.where}.{slot.key}={written} does not match {slot.giver}, which has {slot.value}; omit {slot.key} '
            'to have it filled in'
        )


def fits(written: Any, value: Any) -> bool:
    """Return whether a given number, or list of numbers, matches the required one.

    Strides that are not whole numbers belong to one fixed image size, 550 / 69 = 7.97 in YOLACT: they match the nearest
    powers of two.
    """
    if plain(written) == value:
        return True
    if not is_list(written) or not is_list(value) or len(written) != len(value):
        return False
    fractions = any(isinstance(each, float) and not each.is_integer() for each in written)
    return fractions and all(abs(one - other) <= FRACTION * other for one, other in zip(written, value, strict=True))


def _check_levels(cfg: ConfigDict, levels: Levels) -> None:
    part = at(cfg, levels.path)
    written, where = part.get(levels.key), '.'.join(map(str, (*levels.path, levels.key)))
    if levels.key == 'anchors' or short(part) == 'YOLOAnchorGenerator':
        _check_anchors(written, where)
    if len(written) != len(levels.maps.strides):
        raise UsageError(
            f'{where} has {len(written)} levels, but {levels.giver} returns {len(levels.maps.strides)} (strides '
            f'{list(levels.maps.strides)}): one entry per level is needed'
        )


def _check_anchors(anchors: Any, where: str) -> None:
    levels: Sequence = anchors if is_list(anchors) else [None]
    pairs = [pair for level in levels for pair in (level if is_list(level) and len(level) else [None])]
    if not all(is_list(pair) and len(pair) == 2 and all(_is_positive(side) for side in pair) for pair in pairs):
        raise UsageError(f'{where}={anchors} must be a list of (width, height), in pixels, for each level')


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and value > 0
