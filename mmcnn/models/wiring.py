"""Channels and strides from backbone to neck to heads, so that nobody types them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from torch import nn

from mmcnn.registry import MODELS

#: Necks that want ``in_channels`` coarse to fine, though their maps come fine to coarse.
COARSE_TO_FINE_NECKS = ('YOLOV3Neck',)
#: Heads with one ``in_channels`` a level; all others take one number for all levels.
PER_LEVEL_HEADS = ('YOLOHead', 'YOLOV3Head')
#: Side of the square image that foreign parts are probed with; a multiple of every usual stride.
PROBE_SIZE = 512


class Maps(NamedTuple):
    """What a backbone or a neck gives: one entry a map, in its order."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]  # pixels


def probe(cfg: dict, inputs: Maps | None = None) -> Maps:
    """Builds a backbone, or a neck on ``inputs``, on the meta device and reads what it gives.

    No memory, no weights, random state untouched. A part with ``out_channels`` and ``out_strides`` (ours) is asked;
    any other is sent a forward pass.

    Args:
        cfg: MMEngine config of the part; its ``init_cfg`` is ignored.
        inputs: for a neck, what its backbone gives.

    Raises:
        ValueError: a foreign part cannot be built or run on the meta device.
    """
    cfg = ConfigDict(copy.deepcopy(dict(cfg)))
    cfg.init_cfg = None
    with DefaultScope.overwrite_default_scope('mmdet'):
        if inputs is None and _is_ours(cfg):
            with torch.device('meta'):
                part = MODELS.build(cfg)
            return Maps(tuple(part.out_channels), tuple(part.out_strides))
        try:
            with torch.device('meta'), torch.no_grad():
                part = MMDET_MODELS.build(cfg)
                part.eval()  # returns None in some of MMDetection's backbones
                outputs = part(_meta_input(part, inputs))
        except (RuntimeError, NotImplementedError) as error:
            kind = 'backbone' if inputs is None else 'neck'
            raise ValueError(
                f'{kind} {cfg.type} cannot be probed on the meta device ({error}); write in_channels of the part after '
                f'it by hand'
            ) from error
        except (AssertionError, IndexError) as error:  # how MMDetection's parts refuse their arguments
            raise ValueError(
                f"{cfg.type} does not take {dict(cfg)} ({error or 'assertion'}); the out_indices of MMDetection's "
                'backbones are numbers of stages, (1, 2, 3) for strides 8 to 32 in its ResNet'
            ) from error
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else outputs
    return Maps(tuple(o.shape[1] for o in outputs), tuple(round(PROBE_SIZE / o.shape[-1]) for o in outputs))


def wire(model: dict) -> ConfigDict:
    """A detector's config with every channel number and stride filled in.

    ``dict(type='mmcnn.wired', detector='FasterRCNN', ...)`` becomes the plain ``dict(type='FasterRCNN', ...)``. Filled
    where absent: ``in_channels`` of neck and heads, ``strides`` of :class:`~mmcnn.models.dense_heads.YOLOHead`,
    channels and strides of the RoI extractor. ``widen_factor`` and ``deepen_factor`` of the detector go to
    backbone and neck where those are ours. A wired config wires to itself.

    Args:
        model: config of a detector with ``backbone``, optional ``neck`` and its heads. Not changed.

    Raises:
        ValueError: a value contradicts what backbone or neck give; both are in the message.
    """
    cfg = ConfigDict(copy.deepcopy(dict(model)))
    if cfg.get('type') == 'mmcnn.wired':
        if 'detector' not in cfg:
            raise ValueError("dict(type='mmcnn.wired', ...) needs detector='...', the detector's type in MMDetection")
        cfg.type = cfg.pop('detector')
    if 'backbone' not in cfg:
        return cfg
    _spread_factors(cfg)

    maps = probe(cfg.backbone)
    if cfg.get('neck') is not None:
        if not isinstance(cfg.neck, dict):
            raise ValueError('a list of necks cannot be wired: write their in_channels by hand and drop mmcnn.wired')
        backwards = _short(cfg.neck) in COARSE_TO_FINE_NECKS
        channels = maps.channels[::-1] if backwards else maps.channels
        _fill(cfg.neck, 'in_channels', list(channels), 'neck', cfg.backbone.type)
        maps = probe(cfg.neck, maps)

    giver = cfg.neck.type if cfg.get('neck') is not None else cfg.backbone.type
    for name in ('bbox_head', 'rpn_head'):
        if cfg.get(name) is not None:
            _wire_head(cfg[name], name, maps, giver)
    if cfg.get('roi_head') is not None:
        _wire_roi_head(cfg.roi_head, maps, giver)
    return cfg


def is_classifier(model: dict) -> bool:
    """Whether a model's config is that of :class:`~mmcnn.models.classifiers.Classifier`."""
    return 'type' in model and _short(model) == 'Classifier'


def set_num_classes(model: dict, num_classes: int) -> None:
    """Sets every ``num_classes`` inside a model's config, in place."""
    for value in model.values():
        for part in value if isinstance(value, list | tuple) else [value]:
            if isinstance(part, dict):
                set_num_classes(part, num_classes)
    if 'num_classes' in model:
        model['num_classes'] = num_classes


@MODELS.register_module()
def wired(**model: Any) -> nn.Module:
    """Builds a detector of MMDetection from a config without channel numbers; see :func:`wire`.

    ``dict(type='mmcnn.wired', detector='SingleStageDetector', backbone=..., neck=..., bbox_head=...)``: the result is
    the plain detector, its class and state-dict keys unchanged, also from MMDetection's own tools.
    """
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MMDET_MODELS.build(wire({'type': 'mmcnn.wired', **model}))


def _meta_input(part: nn.Module, inputs: Maps | None) -> torch.Tensor | tuple[torch.Tensor, ...]:
    if inputs is None:
        return torch.empty(1, getattr(part, 'in_channels', 3), PROBE_SIZE, PROBE_SIZE)
    return tuple(torch.empty(1, c, PROBE_SIZE // s, PROBE_SIZE // s) for c, s in zip(*inputs, strict=True))


def _short(cfg: dict) -> str:
    """The type without its scope."""
    kind = cfg['type']
    return kind.rsplit('.', 1)[-1] if isinstance(kind, str) else kind.__name__


def _is_ours(cfg: dict) -> bool:
    """Whether a type is a part of mmcnn; MMDetection has other parts of the same names (Darknet, ResNet)."""
    kind = cfg['type']
    return kind.startswith('mmcnn.') if isinstance(kind, str) else kind in MODELS.module_dict.values()


def _spread_factors(cfg: ConfigDict) -> None:
    for factor in ('widen_factor', 'deepen_factor'):
        if factor in cfg:
            value = cfg.pop(factor)
            for part in (cfg.backbone, cfg.get('neck')):
                if part is not None and _is_ours(part):
                    part[factor] = value


def _fill(cfg: ConfigDict, key: str, value: Any, where: str, giver: str) -> None:
    """Sets ``cfg[key]``, or checks it where it is written."""
    written = cfg.get(key)
    if written is None:
        cfg[key] = value
    elif (list(written) if isinstance(written, Sequence) else written) != value:
        raise ValueError(
            f'{where}.{key}={written} does not fit {giver}, which gives {value}; leave {key} out and it is filled in'
        )


def _wire_head(head: ConfigDict, name: str, maps: Maps, giver: str) -> None:
    if _short(head) in PER_LEVEL_HEADS:
        _fill(head, 'in_channels', list(maps.channels), name, giver)
    else:
        _fill(head, 'in_channels', _single(maps.channels, name, giver), name, giver)
    if _short(head) == 'YOLOHead':
        _fill(head, 'strides', list(maps.strides), name, giver)
        if not isinstance(head.get('anchors'), Sequence):
            raise ValueError(f'{name}.anchors={head.get("anchors")} has to be a list of (width, height) for each level')
        if len(head.anchors) != len(maps.strides):
            raise ValueError(
                f'{name}.anchors has {len(head.anchors)} levels, but {giver} gives {len(maps.strides)} (strides '
                f'{list(maps.strides)}): one list of (width, height) a level is needed'
            )
    for generator in ('anchor_generator', 'prior_generator'):
        if head.get(generator) is not None and 'strides' in head[generator]:
            _fill(head[generator], 'strides', list(maps.strides), f'{name}.{generator}', giver)


def _wire_roi_head(head: ConfigDict, maps: Maps, giver: str) -> None:
    channels = _single(maps.channels, 'roi_head', giver)
    extractor = head.bbox_roi_extractor
    _fill(extractor, 'out_channels', channels, 'roi_head.bbox_roi_extractor', giver)
    count = len(extractor.get('featmap_strides') or maps.strides[:4])
    _fill(extractor, 'featmap_strides', list(maps.strides[:count]), 'roi_head.bbox_roi_extractor', giver)
    bbox_heads = head.bbox_head if isinstance(head.bbox_head, Sequence) else [head.bbox_head]
    for bbox_head in bbox_heads:
        _fill(bbox_head, 'in_channels', channels, 'roi_head.bbox_head', giver)


def _single(channels: tuple[int, ...], where: str, giver: str) -> int:
    if len(set(channels)) != 1:
        raise ValueError(f'{where} takes maps of one width, but {giver} gives {list(channels)}: put an FPN in between')
    return channels[0]
