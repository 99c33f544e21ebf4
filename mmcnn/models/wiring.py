"""Image format, channels and strides from backbone to data preprocessor, neck and heads, so that nobody types them."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from torch import nn

from mmcnn.errors import UsageError
from mmcnn.image_format import ImageFormat
from mmcnn.models.backbones.pyramid import Pyramid
from mmcnn.models.families import backbone_families
from mmcnn.nearest import nearest
from mmcnn.registry import MODELS

#: Necks that want ``in_channels`` coarse to fine, though their maps come fine to coarse.
COARSE_TO_FINE_NECKS = ('YOLOV3Neck',)
#: Heads with one ``in_channels`` a level; all others take one number for all levels.
PER_LEVEL_HEADS = ('YOLOHead', 'YOLOV3Head', 'DarknetYOLOV3Head')
#: Necks whose maps are those of a backbone with a pyramid of its own.
PYRAMID_NECKS = ('FPN',)
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
        UsageError: a foreign part cannot be built or run on the meta device.
    """
    cfg = ConfigDict(copy.deepcopy(dict(cfg)))
    cfg.init_cfg = None
    with DefaultScope.overwrite_default_scope('mmdet'):
        if inputs is None and _ours(cfg):
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
            raise UsageError(
                f'{kind} {cfg.type} cannot be probed on the meta device ({error}); write in_channels of the part after '
                f'it by hand'
            ) from error
        except (AssertionError, IndexError) as error:  # how MMDetection's parts refuse their arguments
            raise UsageError(
                f"{cfg.type} does not take {dict(cfg)} ({error or 'assertion'}); the out_indices of MMDetection's "
                'backbones are numbers of stages, (1, 2, 3) for strides 8 to 32 in its ResNet'
            ) from error
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else outputs
    return Maps(tuple(o.shape[1] for o in outputs), tuple(round(PROBE_SIZE / o.shape[-1]) for o in outputs))


def wire(model: dict) -> ConfigDict:
    """A detector's config with every channel number and stride filled in, and how its images are normalised.

    ``dict(type='mmcnn.wired', detector='FasterRCNN', ...)`` becomes the plain ``dict(type='FasterRCNN', ...)``. Filled
    where absent: ``in_channels`` of neck and heads, ``strides`` of heads and anchor generators, channels and strides of
    the RoI extractor. ``widen_factor`` and ``deepen_factor`` of the detector multiply those of backbone and neck where
    those are ours and have them. A wired config wires to itself.

    So are ``mean``, ``std`` and ``bgr_to_rgb`` of the data preprocessor where none of them is written, from the row of
    a backbone of ours that takes images of three channels; but not in a plain config, such as a run has recorded: where
    that has none, its network was trained on images as they are.

    Args:
        model: config of a detector with ``backbone``, optional ``neck`` and its heads. Not changed.

    Raises:
        UsageError: a value contradicts what backbone or neck give; both are in the message.
    """
    cfg = ConfigDict(copy.deepcopy(dict(model)))
    if cfg.get('type') == 'mmcnn.wired':
        if 'detector' not in cfg:
            raise UsageError("dict(type='mmcnn.wired', ...) needs detector='...', the detector's type in MMDetection")
        _wire_preprocessor(cfg)
        cfg.type = cfg.pop('detector')
    if 'backbone' not in cfg:
        return cfg
    _spread_factors(cfg)

    maps = _wire_neck(cfg, probe(cfg.backbone))
    giver = cfg.neck.type if cfg.get('neck') is not None else cfg.backbone.type
    for name in ('bbox_head', 'rpn_head'):
        if cfg.get(name) is not None:
            _wire_head(cfg[name], name, maps, giver)
    if cfg.get('roi_head') is not None:
        _wire_roi_head(cfg.roi_head, maps, giver)
    return cfg


def swap_backbone(model: dict, name: str, weights: bool = False) -> tuple[ConfigDict, list[str]]:
    """A detector's or a classifier's config on another backbone, at the same levels, with that backbone's image format.

    What belonged to the old one goes: its weights, and with them frozen levels and frozen BatchNorm, which without
    weights would keep a random network from learning. A backbone with a pyramid of its own that has all levels of the
    detector's FPN takes its place: ``neck=None``.

    Args:
        model: config of a model. Not changed.
        name: short name of one of our backbones, with or without the scope.
        weights: the new backbone is going to get weights: what was frozen stays frozen.

    Returns:
        the config, and what was changed, a sentence each.

    Raises:
        UsageError: no backbone has this name, or it lacks a level that the detector uses (a MissingLevelError).
    """
    name, families = name.removeprefix('mmcnn.'), backbone_families()
    if name not in families:
        raise UsageError(f"no backbone is called '{name}'; {nearest(name, families)}")
    cfg, notes = ConfigDict(copy.deepcopy(dict(model))), []
    if cfg.get('type') == 'mmcnn.wired':
        _wire_preprocessor(cfg)
    old, cfg.backbone = cfg.backbone, ConfigDict(type=f'mmcnn.{name}')
    for key in ('init_cfg', 'frozen_stages', 'norm_eval'):
        if old.get(key) in (None, False, -1):
            continue
        if weights and key != 'init_cfg':
            cfg.backbone[key] = old[key]
        else:
            notes.append(f'{key}={old[key]} belonged to {old.type} and is dropped')
    if is_classifier(cfg):
        return cfg, notes
    maps = probe(old)
    if _has_pyramid(families[name]) and _is_plain_fpn(cfg.get('neck')):
        pyramid = _wire_neck(copy.deepcopy(cfg), maps)
        if set(pyramid.strides) <= set(probe(cfg.backbone).strides):
            notes.append(f'{name} has a pyramid of its own: the neck {cfg.neck.type} is dropped')
            cfg.neck, maps = None, pyramid
    cfg.backbone.out_indices = tuple(int(math.log2(stride)) for stride in maps.strides)
    probe(cfg.backbone)  # says which levels there are, if one is lacking
    image, preprocessor = families[name].variants[name].image, cfg.get('data_preprocessor')
    wanted = _normalisation(image)
    if preprocessor is not None and any(_plain(preprocessor.get(key)) != value for key, value in wanted.items()):
        preprocessor.update(wanted, rgb_to_bgr=False)
        if preprocessor.get('pad_value'):  # the same grey as before where the padding was grey
            preprocessor.pad_value = (114 - sum(image.mean) / 3) / (sum(image.std) / 3)
        notes.append(f'images are normalised as {name} expects: mean {image.mean}, std {image.std}, {image.order}')
    return cfg, notes


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


def num_classes(model: dict) -> set[int]:
    """Every ``num_classes`` of the heads inside a model's config; a region proposal network's own is none of them."""
    parts = [part for name, part in model.items() if name != 'rpn_head']
    inside = (each for part in parts for each in (part if isinstance(part, list | tuple) else [part]))
    found = {number for each in inside if isinstance(each, dict) for number in num_classes(each)}
    return found | ({model['num_classes']} if 'num_classes' in model else set())


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


def _has_pyramid(family: type) -> bool:
    """Whether a family's maps are those of an FPN; the attribute is that of release 0.1.0, kept for one release."""
    return issubclass(family, Pyramid) or getattr(family, 'pyramid', False) is True


def _is_plain_fpn(neck: Any) -> bool:
    """Whether a backbone with a pyramid can do without this neck; extra convolutions are more than it has."""
    return isinstance(neck, dict) and _short(neck) in PYRAMID_NECKS and not neck.get('add_extra_convs')


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, Sequence) else value


def _ours(cfg: dict) -> bool:
    """Whether the part is one of this package: MMDetection has a ResNet and a VGG, too, and bare names are its own."""
    kind = cfg['type']
    return kind.startswith('mmcnn.') if isinstance(kind, str) else kind.__module__.startswith('mmcnn.')


def _short(cfg: dict) -> str:
    """The type without its scope."""
    kind = cfg['type']
    return kind.rsplit('.', 1)[-1] if isinstance(kind, str) else kind.__name__


def _spread_factors(cfg: ConfigDict) -> None:
    for factor in ('widen_factor', 'deepen_factor'):
        if factor in cfg:
            value = cfg.pop(factor)
            for part in (cfg.backbone, cfg.get('neck')):
                if part is not None and _ours(part) and factor in _arguments(part):
                    part[factor] = part.get(factor, 1) * value


def _fill(cfg: ConfigDict, key: str, value: Any, where: str, giver: str) -> None:
    """Sets ``cfg[key]``, or checks it where it is written."""
    written = cfg.get(key)
    if written is None:
        cfg[key] = value
    elif _plain(written) != value:
        raise UsageError(
            f'{where}.{key}={written} does not fit {giver}, which gives {value}; leave {key} out and it is filled in'
        )


def _wire_preprocessor(cfg: ConfigDict) -> None:
    """Fills in how images are normalised, as the row of the backbone says it, if that is ours; all of it or nothing.

    Mean and deviation are of an order of the channels, so whoever writes one of the three says what the others are.
    """
    preprocessor, image = cfg.get('data_preprocessor'), _image(cfg.get('backbone'))
    if image is None or not isinstance(preprocessor, dict) or 'type' not in preprocessor:
        return
    wanted = _normalisation(image)
    if wanted.keys() <= _arguments(preprocessor) and not {*wanted, 'rgb_to_bgr'} & preprocessor.keys():
        preprocessor.update(wanted)


def _image(backbone: Any) -> ImageFormat | None:
    """The images that the row of a backbone's config expects; None: it is not ours, timm's, or takes other images."""
    if not isinstance(backbone, dict) or 'type' not in backbone or not _ours(backbone):
        return None
    if backbone.get('in_channels', 3) != 3:
        return None
    name = backbone.get('variant') or _short(backbone)
    families = backbone_families()
    return families[name].variants[name].image if name in families else None


def _normalisation(image: ImageFormat) -> dict[str, Any]:
    """What MMDetection's data preprocessor, which gets BGR images, is told; mean and deviation are after the swap."""
    return dict(mean=list(image.mean), std=list(image.std), bgr_to_rgb=image.order == 'rgb')


def _wire_neck(cfg: ConfigDict, maps: Maps) -> Maps:
    """Fills in the neck of a detector whose backbone gives ``maps``, if it has one; what the heads get."""
    if cfg.get('neck') is None:
        return maps
    if not isinstance(cfg.neck, dict):
        raise UsageError('a list of necks cannot be wired: write their in_channels by hand and drop mmcnn.wired')
    channels = maps.channels[::-1] if _short(cfg.neck) in COARSE_TO_FINE_NECKS else maps.channels
    _fill(cfg.neck, 'in_channels', list(channels), 'neck', cfg.backbone.type)
    return probe(cfg.neck, maps)


def _wire_head(head: ConfigDict, name: str, maps: Maps, giver: str) -> None:
    if _short(head) in PER_LEVEL_HEADS:
        _fill(head, 'in_channels', list(maps.channels), name, giver)
    else:
        _fill(head, 'in_channels', _single(maps.channels, name, giver), name, giver)
    arguments = _arguments(head)
    for key in ('strides', 'featmap_strides'):
        if key in arguments:
            _fill(head, key, list(maps.strides), name, giver)
    if _short(head) == 'YOLOHead':
        _check_anchors(head.get('anchors'), f'{name}.anchors', maps, giver)
    for key in ('anchor_generator', 'prior_generator'):
        if head.get(key) is not None:
            _fill(head[key], 'strides', list(maps.strides), f'{name}.{key}', giver)
            if head[key].get('base_sizes') is not None:  # one number a level in MMDetection's other generators
                check = _check_anchors if _short(head[key]) == 'YOLOAnchorGenerator' else _check_levels
                check(head[key].base_sizes, f'{name}.{key}.base_sizes', maps, giver)


def _arguments(cfg: dict) -> set[str]:
    """Names of the arguments of a part, also those that it passes on to its base classes."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        part = MMDET_MODELS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    part = getattr(part, 'func', part)  # a row of a backbone's table is a partial
    names: set[str] = set()
    for cls in part.__mro__ if isinstance(part, type) else ():
        parameters = inspect.signature(cls.__init__).parameters
        names.update(parameters)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            break
    return names


def _check_anchors(anchors: Any, where: str, maps: Maps, giver: str) -> None:
    levels = anchors if _is_list(anchors) else [None]
    pairs = [pair for level in levels for pair in (level if _is_list(level) and len(level) else [None])]
    if not all(_is_list(pair) and len(pair) == 2 and all(_is_positive(side) for side in pair) for pair in pairs):
        raise UsageError(f'{where}={anchors} has to be a list of (width, height), in pixels, for each level')
    _check_levels(anchors, where, maps, giver)


def _check_levels(anchors: Sequence, where: str, maps: Maps, giver: str) -> None:
    if len(anchors) != len(maps.strides):
        raise UsageError(
            f'{where} has {len(anchors)} levels, but {giver} gives {len(maps.strides)} (strides {list(maps.strides)}): '
            'one entry a level is needed'
        )


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and value > 0


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
        raise UsageError(f'{where} takes maps of one width, but {giver} gives {list(channels)}: put an FPN in between')
    return channels[0]
