"""Replacement of the backbone in a detector's config, and of everything that described the old one."""

from __future__ import annotations

import contextlib
import copy
import math
from typing import Any

from mmengine.config import ConfigDict

from mmcnn.errors import UsageError
from mmcnn.models.backbones.pyramid import Pyramid
from mmcnn.models.families import backbone_families
from mmcnn.models.wiring.classes import is_classifier
from mmcnn.models.wiring.filling import fits
from mmcnn.models.wiring.images import fill_preprocessor, set_preprocessor
from mmcnn.models.wiring.names import called, named_backbone
from mmcnn.models.wiring.parts import Path, arguments, at, is_a, is_list, is_part, ours, plain, short, type_name
from mmcnn.models.wiring.probing import Maps, levels_of, probe
from mmcnn.models.wiring.slots import Slot, slots

#: Necks that a backbone with its own pyramid can replace.
PYRAMID_NECKS = ('FPN',)
#: Detectors, and parts of them, that work with only one backbone, and what they need from it.
BOUND = {
    'CornerNet': 'needs a map of stride 4 from each of two stacked hourglasses (HourglassNet)',
    'TridentFasterRCNN': 'needs three branches of one backbone with shared weights (TridentResNet)',
    'RFP': 'feeds the pyramid back into the backbone, which only DetectoRS_ResNet and DetectoRS_ResNeXt support',
    'KnowledgeDistillationSingleStageDetector': "learns from a teacher's file (teacher_config, teacher_ckpt)",
    'LAD': "learns from a teacher's file (teacher_ckpt), whose network is in the same config",
}
#: Arguments of a backbone that change its computation or its training; dropping them is reported.
TOLD = (
    'init_cfg',
    'frozen_stages',
    'norm_eval',
    'norm_cfg',
    'conv_cfg',
    'dcn',
    'sac',
    'plugins',
    'dilations',
    'with_cp',
)


def swap_backbone(model: dict, name: str | dict, weights: bool = False) -> tuple[ConfigDict, list[str]]:
    """Return a model's config with another backbone at the same levels and with that backbone's image format.

    Every number that described the old backbone is replaced (:mod:`mmcnn.models.wiring.slots`) if the new one requires
    another; numbers that are absent stay absent. Settings of the old backbone are dropped: its weights, and with them
    frozen levels and frozen BatchNorm, which without weights would keep a random network from learning. A backbone with
    its own pyramid that has all levels of the detector's FPN replaces it: ``neck=None``. A shared head made of the old
    backbone's last stage (C4) is replaced by that of the new one.

    Args:
        model: config of a model, or of a detector around a detector (``dict(type='SoftTeacher', detector=...)``). It is
            not changed.
        name: short name of one of our backbones, with or without the scope; ``mmdet.TYPE`` or ``timm.NETWORK`` for
            theirs; or the config of a backbone, whose ``out_indices`` are derived if absent.
        weights: whether the new backbone will get weights: what was frozen then stays frozen.

    Returns:
        The config, and a sentence about each change.

    Raises:
        UsageError: no backbone has this name, it lacks a level that the detector uses (MissingLevelError), or the
            detector works with its own backbone only.
    """
    new = ConfigDict(copy.deepcopy(dict(name))) if isinstance(name, dict) else named_backbone(name)
    cfg, notes = ConfigDict(copy.deepcopy(dict(model))), []
    if cfg.get('type') == 'mmcnn.wired':
        fill_preprocessor(cfg)
    elif 'backbone' not in cfg and isinstance(cfg.get('detector'), dict):
        cfg.detector, notes = swap_backbone(cfg.detector, name, weights)
        _set_images(cfg, new, [])  # in each branch; the inner call has reported it
        return cfg, notes
    if not is_part(cfg.get('backbone')):
        raise UsageError(f'the model {cfg.get("type")} has no backbone that could be swapped')
    _refuse_bound(cfg)
    old, cfg.backbone = cfg.backbone, new
    notes += _keep_settings(old, new, weights)
    if is_classifier(cfg):
        return cfg, notes
    was = copy.deepcopy(cfg)
    # Deformable convolutions do not change any shape and need an operator that may not be available.
    was.backbone = ConfigDict({key: value for key, value in old.items() if key not in ('dcn', 'sac')})
    maps = probe(was.backbone)
    _refuse_odd_strides(cfg, old, maps)
    if _has_pyramid(new) and _is_plain_fpn(cfg.get('neck')):
        pyramid = probe({**cfg.neck, 'in_channels': list(maps.channels)}, maps)
        if set(pyramid.strides) <= set(probe(cfg.backbone).strides):
            notes.append(f'{called(new)} has its own pyramid: the neck {cfg.neck.type} is dropped')
            cfg.neck, maps = None, pyramid
    _set_levels(new, old, maps)
    notes += _replace_shared_head(cfg, old)
    notes += _replace(cfg, was)
    _set_images(cfg, new, notes)
    return cfg, notes


def refit(model: dict, old: dict) -> tuple[ConfigDict, list[str]]:
    """Update the numbers that described the old backbone in a config whose backbone has already been replaced.

    Args:
        model: config of a detector with its new backbone, which gets only the ``out_indices`` of the old one's strides
            if it has none. It is not changed.
        old: config of the backbone that the numbers were written for.

    Returns:
        The config, and a sentence about each change. What does not fit after this is left to :func:`wire`.
    """
    cfg, was = (ConfigDict(copy.deepcopy(dict(model))) for _ in range(2))
    was.backbone = ConfigDict(copy.deepcopy(dict(old)))
    notes, new = _replace(cfg, was), cfg.backbone
    if not notes or 'out_indices' in new or 'out_indices' not in arguments(new):
        return cfg, notes
    if (indices := levels_of(new, probe(was.backbone).strides)) is None:
        return cfg, notes
    cfg = ConfigDict(copy.deepcopy(dict(model)))
    cfg.backbone.out_indices = indices
    notes = [f'backbone.out_indices is {indices}, to give {type_name(new)} the strides of the old backbone']
    return cfg, notes + _replace(cfg, was)


def _refuse_bound(cfg: ConfigDict) -> None:
    necks = cfg.neck if isinstance(cfg.get('neck'), list) else [cfg.get('neck')]
    for part in (cfg, *necks):
        if not is_part(part):
            continue
        for kind, need in BOUND.items():
            if is_a(part, (kind,)):
                raise UsageError(f'{short(part)} works with no other backbone: it {need}')


def _keep_settings(old: dict, new: dict, weights: bool) -> list[str]:
    """Keep the settings that apply to any backbone, and report those that are dropped with the old one."""
    notes = []
    for key in TOLD:
        value = old.get(key)
        if value in (None, False, -1) or _is_usual(value) or key in new:
            continue
        if (key == 'with_cp' and key in arguments(new)) or (weights and key == 'norm_eval'):
            new[key] = value
        elif weights and key == 'frozen_stages' and (level := _frozen_level(old)) is not None and ours(new):
            new[key] = level
            if level != value:
                notes.append(f'{key}={value} of {type_name(old)} is now {key}={level}: levels are numbered by stride')
        else:
            notes.append(f'{key}={value} applied to {type_name(old)} and is dropped')
    return notes


def _is_usual(value: Any) -> bool:
    """Return whether a value is the default of a backbone: BatchNorm, a plain convolution, or no dilation."""
    if isinstance(value, dict):
        return value.get('type') in ('BN', 'BN2d', 'Conv', 'Conv2d')
    return is_list(value) and all(each == 1 for each in value)


def _frozen_level(old: dict) -> int | None:
    """Return the level up to which the old backbone was frozen; None: its stages are numbered differently."""
    if ours(old):
        return old['frozen_stages']
    # ResNet: 0 is the stem, whose first convolution has stride 2, and stage i ends at level i + 1.
    return old['frozen_stages'] + 1 if is_a(old, ('ResNet',)) else None


def _described(was: ConfigDict) -> dict[tuple[Path, str], Any]:
    """Return the values that the old backbone required. A number that does not fit the old backbone is ignored."""
    was, values = copy.deepcopy(was), {}
    with contextlib.suppress(ValueError):  # it did not fit the old backbone either; the new one is checked later
        for slot in slots(was):
            if isinstance(slot, Slot):
                values[slot.path, slot.key] = slot.value
                if at(was, slot.path).get(slot.key) is None:
                    at(was, slot.path)[slot.key] = slot.value
    return values


def _refuse_odd_strides(cfg: ConfigDict, old: dict, maps: Maps) -> None:
    strides = list(maps.strides)
    if strides != sorted(set(strides)) or any(math.log2(stride) % 1 for stride in strides):
        raise UsageError(
            f'{cfg.get("type")} takes maps of strides {strides} from {type_name(old)}, which no other backbone has: '
            'they must be different powers of two, fine to coarse'
        )


def _set_levels(new: ConfigDict, old: dict, maps: Maps) -> None:
    """Set the levels so that the new backbone has maps of the old one's strides."""
    if 'out_indices' in new:
        return
    if ours(new):
        new.out_indices = tuple(int(math.log2(stride)) for stride in maps.strides)
        probe(new)  # lists the levels that exist if one is lacking
        return
    name = type_name(new)
    if 'out_indices' not in arguments(new):  # a custom backbone, whose maps are fixed
        if (strides := probe(new).strides) != maps.strides:
            raise UsageError(
                f'{name} returns maps of the strides {list(strides)} and has no out_indices to select from, but it '
                f'replaces {type_name(old)}, which returns {list(maps.strides)}'
            )
        return
    if (indices := levels_of(new, maps.strides)) is None:
        raise UsageError(
            f'{name} has no maps of the strides {list(maps.strides)} of {type_name(old)}, or cannot be built: '
            f'set its arguments and out_indices, as in dict(type={name!r}, depth=18, out_indices=(1, 2, 3))'
        )
    new.out_indices = indices


def _replace_shared_head(cfg: ConfigDict, old: dict) -> list[str]:
    """Replace a shared head made of the old backbone's last stage by that of the new one."""
    roi_head = cfg.get('roi_head') or {}
    shared = roi_head.get('shared_head')
    if not is_part(shared) or not is_a(shared, ('ResLayer', 'LastStages')):
        return []
    new = cfg.backbone
    if not ours(new) or short(new) not in backbone_families():
        raise UsageError(
            f'roi_head.shared_head is the last stage of {type_name(old)}; it can only be replaced by that of an mmcnn '
            'backbone'
        )
    last = new.out_indices[-1]
    trunk = {key: value for key, value in new.items() if key in ('type', 'arch', 'widen_factor', 'deepen_factor')}
    roi_head.shared_head = ConfigDict(type='mmcnn.LastStages', backbone=trunk, after=last)
    probe(roi_head.shared_head, Maps((probe(new).channels[-1],), (2**last,)), one_map=True)
    return [f'roi_head.shared_head consists of the stages of {called(new)} after level {last}, with random weights']


def _replace(cfg: ConfigDict, was: ConfigDict) -> list[str]:
    """Replace in place the numbers that have changed; those that are absent stay absent."""
    trial, notes = copy.deepcopy(cfg), []
    described: dict[tuple[Path, str], Any] | None = None
    with contextlib.suppress(ValueError):  # what does not fit is reported by wire, which has to follow
        for slot in slots(trial):
            if not isinstance(slot, Slot):
                continue
            part = at(trial, slot.path)
            written = part.get(slot.key)
            if written is None:
                part[slot.key] = slot.value
                continue
            if fits(written, slot.value):
                continue
            described = _described(was) if described is None else described
            if described.get((slot.path, slot.key)) != slot.value:
                part[slot.key] = at(cfg, slot.path)[slot.key] = slot.value
                words = f'{slot.where}.{slot.key} changed from {plain(written)} to {slot.value}'
                notes.append(f'{words}, from {slot.giver}')
    return notes


def _set_images(cfg: ConfigDict, new: dict, notes: list[str]) -> None:
    families = backbone_families()
    name = new.get('variant') or short(new)
    if not ours(new) or name not in families:
        if is_part(cfg.get('data_preprocessor')):
            notes.append(
                f'images are normalised as before: {called(new)} does not state its image format; see data_preprocessor'
            )
    elif cfg.get('data_preprocessor') is not None:
        notes += set_preprocessor(cfg.data_preprocessor, name, families[name].variants[name].image)


def _has_pyramid(new: dict) -> bool:
    """Return whether a family's maps are those of an FPN; the attribute is deprecated since release 0.1.0."""
    family = backbone_families().get(short(new)) if ours(new) else None
    return family is not None and (issubclass(family, Pyramid) or getattr(family, 'pyramid', False) is True)


def _is_plain_fpn(neck: Any) -> bool:
    """Return whether a backbone with a pyramid can replace this neck; it has no extra convolutions."""
    return is_part(neck) and short(neck) in PYRAMID_NECKS and not neck.get('add_extra_convs')
