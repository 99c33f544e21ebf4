"""Every number in a detector's config that describes the output of the part before: where it is and what it has to be.

The rule is general: a part whose constructor takes ``in_channels`` (or ``cls_in_channels``, ...) gets the channels of
its input maps, as a list or as one number depending on the constructor; one that takes ``strides`` or
``featmap_strides``, and a generator of anchors or points, gets their strides; a RoI extractor passes the channels on to
the heads behind it. Exceptions among MMDetection's parts are in the tables here, each with a test.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from mmcnn.errors import UsageError
from mmcnn.models.wiring.parts import Path, arguments, each, is_a, is_list, is_part, short, takes_list, type_name
from mmcnn.models.wiring.probing import Maps, probe

#: Necks whose ``in_channels`` are coarse to fine although their maps are fine to coarse.
COARSE_TO_FINE_NECKS = ('YOLOV3Neck',)
#: Necks that get the image itself before the maps.
IMAGE_FIRST_NECKS = ('RFP',)
#: Necks whose ``out_channels`` begin with the channels of the maps that they pass on.
PASSING_NECKS = ('SSDNeck',)
#: Heads with one ``in_channels`` per level; all others take one number for all levels, unless their constructor says
#: otherwise.
PER_LEVEL_HEADS = ('YOLOHead', 'YOLOV3Head', 'DarknetYOLOV3Head', 'SSDHead')
#: Heads that resize the maps before they use them: their ``strides`` are those of the resized ones.
RESIZING_HEADS = ('SOLOHead',)
#: Heads of a detector that take the finest map only.
FINEST_MAP_HEADS = ('YOLACTProtonet',)
#: Generators whose strides belong to one fixed image size, ``input_size``, even if they are not powers of two.
ONE_SIZE_GENERATORS = ('SSDAnchorGenerator',)
#: RoI extractors that do not use the maps of the neck: a semantic head's map has its own width.
OTHER_EXTRACTORS = ('semantic_roi_extractor',)
#: Heads behind or beside a RoI extractor; all others get the output of one of these.
ROI_HEADS = ('bbox_head', 'mask_head', 'grid_head', 'point_head', 'semantic_head', 'glbctx_head')
#: Those of them that get the maps themselves, not the output of the extractor and a shared head.
MAP_HEADS = ('point_head', 'semantic_head', 'glbctx_head')
#: Entries of a detector that are not heads.
NOT_HEADS = ('backbone', 'neck', 'roi_head', 'data_preprocessor', 'train_cfg', 'test_cfg', 'init_cfg')
#: Parts inside of a head that get the same maps as the head.
INNER_PARTS = ('stages',)
#: Dicts inside of a head, without a type, whose ``in_channels`` is the width of its maps (CondInst, SOLOv2).
INNER_SETTINGS = ('mask_feature_head',)


class Slot(NamedTuple):
    """A number, or a list of numbers, that describes the output of the part before."""

    path: Path  # address of the dict that holds it
    key: str
    value: Any  # the required value
    giver: str  # type of the preceding part

    @property
    def where(self) -> str:
        """Its address, as in a config: ``roi_head.bbox_head``."""
        return '.'.join(map(str, self.path))


class Levels(NamedTuple):
    """A list whose only requirement is one entry per level."""

    path: Path
    key: str
    maps: Maps
    giver: str


def slots(cfg: dict) -> Iterator[Slot | Levels]:
    """Walk through a detector, starting from its backbone.

    The caller sets each slot before it asks for the next one: a neck is probed with its ``in_channels``.

    Args:
        cfg: config of a detector with ``backbone``.

    Yields:
        The slots and the lists of levels in order.

    Raises:
        UsageError: a part does not run, or takes maps of one width and gets several.
    """
    side = one_size(cfg)
    maps, giver = probe(cfg['backbone'], side=side), type_name(cfg['backbone'])
    for path, neck in each(cfg, 'neck'):
        yield from _neck_slots(neck, path, maps, giver)
        maps, giver = probe(neck, maps, side), type_name(neck)
    for name in cfg:
        if name not in NOT_HEADS and not name.startswith('teacher_'):  # another network in the same config (LAD)
            for path, head in each(cfg, name):
                yield from _head_slots(head, path, maps, giver)
    if is_part(cfg.get('roi_head')):
        yield from _roi_slots(cfg['roi_head'], maps, giver)


def one_size(cfg: dict) -> int | None:
    """Return the side of the images in pixels that a detector's anchors are made for; None: any size works."""
    for _, head in each(cfg, 'bbox_head'):
        generator = head.get('anchor_generator')
        if is_part(generator) and short(generator) in ONE_SIZE_GENERATORS:
            # If it is not given, the last map is one pixel, whose stride is the image's side.
            return generator.get('input_size') or max(generator.get('strides') or [300])
    return None


def _neck_slots(neck: dict, path: Path, maps: Maps, giver: str) -> Iterator[Slot]:
    known = arguments(neck)
    if known and 'in_channels' not in known:
        return
    channels = list(maps.channels[1:] if is_a(neck, IMAGE_FIRST_NECKS) else maps.channels)
    if is_a(neck, COARSE_TO_FINE_NECKS):
        channels.reverse()
    if not _wants_list(neck, 'in_channels', default=True):
        # All maps have one width, or the neck starts from the coarsest (YOLOF, CenterNet).
        channels = channels[-1]
    outputs = neck.get('out_channels')
    passes = is_a(neck, PASSING_NECKS) and is_list(outputs)
    if passes and neck.get('in_channels') is None:
        channels = type(outputs)(channels)  # SSDNeck compares the two, and a list is never equal to a tuple
    yield Slot(path, 'in_channels', channels, giver)
    if passes:
        yield Slot(path, 'out_channels', [*maps.channels, *outputs[len(maps.channels) :]], giver)


def _head_slots(head: dict, path: Path, maps: Maps, giver: str) -> Iterator[Slot | Levels]:
    known, where = arguments(head), '.'.join(map(str, path))
    for key in [key for key in known if key == 'in_channels' or key.endswith('_in_channels')]:
        if is_a(head, PER_LEVEL_HEADS) or _wants_list(head, key, default=False):
            yield Slot(path, key, list(maps.channels), giver)
        elif is_a(head, FINEST_MAP_HEADS):
            yield Slot(path, key, maps.channels[0], giver)
        else:
            yield Slot(path, key, single(maps.channels, where, giver), giver)
    if not is_a(head, RESIZING_HEADS):
        for key in ('strides', 'featmap_strides'):
            if key in known:
                yield Slot(path, key, list(maps.strides), giver)
    if short(head) == 'YOLOHead':
        yield Levels(path, 'anchors', maps, giver)
    for key in [key for key in head if key.endswith('_generator') and is_part(head[key])]:
        yield Slot((*path, key), 'strides', list(maps.strides), giver)
        if head[key].get('base_sizes') is not None:  # one number per level in MMDetection's other generators
            yield Levels((*path, key), 'base_sizes', maps, giver)
    for key in INNER_SETTINGS:
        if isinstance(head.get(key), dict):
            yield Slot((*path, key), 'in_channels', single(maps.channels, where, giver), giver)
    for key in INNER_PARTS:
        for inside, part in each(head, key):
            yield from _head_slots(part, (*path, *inside), maps, giver)


def _roi_slots(head: dict, maps: Maps, giver: str) -> Iterator[Slot | Levels]:
    channels = single(maps.channels, 'roi_head', giver)
    for key in [key for key in head if key.endswith('roi_extractor') and key not in OTHER_EXTRACTORS]:
        for inside, extractor in each(head, key):
            path = ('roi_head', *inside)
            yield Slot(path, 'out_channels', channels, giver)
            count = len(extractor.get('featmap_strides') or maps.strides[:4])
            yield Slot(path, 'featmap_strides', list(maps.strides[:count]), giver)
    behind, behind_giver = channels, giver
    if is_part(head.get('shared_head')):
        shared = head['shared_head']
        if 'in_channels' in arguments(shared):
            yield Slot(('roi_head', 'shared_head'), 'in_channels', channels, giver)
        behind, behind_giver = _through(shared, channels), type_name(shared)
    for key in ROI_HEADS:
        for inside, part in each(head, key):
            width, from_ = (channels, giver) if key in MAP_HEADS else (behind, behind_giver)
            for name in arguments(part):
                if name == 'in_channels' or name.endswith('_in_channels'):
                    yield Slot(('roi_head', *inside), name, width, from_)


def _through(shared: dict, channels: int) -> int:
    """Return the number of channels that a shared head outputs for those of a RoI extractor."""
    return probe(shared, Maps((channels,), (16,)), one_map=True).channels[0]


def _wants_list(part: dict, key: str, default: bool) -> bool:
    """Return whether an argument is a list: as given, otherwise as the constructor's annotation says."""
    written = part.get(key)
    if written is not None:
        return is_list(written)
    said = takes_list(part, key)
    return default if said is None else said


def single(channels: tuple[int, ...], where: str, giver: str) -> int:
    """Return the one width of several maps.

    Raises:
        UsageError: they have several.
    """
    if len(set(channels)) != 1:
        raise UsageError(
            f'{where} takes maps of equal width, but {giver} returns {list(channels)}: put an FPN in between'
        )
    return channels[0]
