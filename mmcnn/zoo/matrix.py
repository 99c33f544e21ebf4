"""Any backbone in any detector: every pair is built at full size on the meta device and run on an image."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from mmengine.config import Config, ConfigDict
from torch import Tensor

from mmcnn.config.load import load_config
from mmcnn.config.model import build_on_meta
from mmcnn.errors import MissingLevelError
from mmcnn.models.wiring import swap_backbone
from mmcnn.zoo.table import aligned, natural

#: Name of a detector -> the config that is used.
DETECTORS = {
    'YOLOv3': 'yolov3_darknet53',
    'YOLOv4': 'yolov4_cspdarknet53',
    'YOLOv5': 'yolov5_l',
    'Faster R-CNN': 'faster_rcnn_resnet50_fpn',
}


class Shapes(NamedTuple):
    """The output of a detector for one image size: (C, H, W) of each map, in the order of its head's levels."""

    features: tuple[tuple[int, ...], ...]  # inputs of the head
    outputs: tuple[tuple[tuple[int, ...], ...], ...]  # for each kind of output of the head (the RPN's in Faster R-CNN)


@dataclass(frozen=True)
class Pair:
    """The result of a backbone in a detector."""

    network: str
    detector: str
    shapes: tuple[Shapes, ...] = ()  # for each image size; empty if the pair cannot be built
    missing: int | None = None  # level that the detector needs but the backbone lacks
    reason: str | None = None  # why it cannot be built, a sentence

    @property
    def failed(self) -> bool:
        """Whether it cannot be built for another reason than a missing level."""
        return self.reason is not None and self.missing is None


def try_pair(network: str, detector: str, sizes: Iterable[tuple[int, int]] = ((640, 640),)) -> Pair:
    """Swap the backbone of a detector's config, build the detector on the meta device, and run it up to its head.

    Args:
        network: short name of one of our backbones.
        detector: one of ``DETECTORS``.
        sizes: (H, W) of the images to run, pixels.

    Returns:
        The shapes, or what is missing, or why the pair fails; an error never stops the other pairs.
    """
    try:
        model, _ = swap_backbone(_model(detector), network)
        built = build_on_meta(Config(dict(model=model))).eval()
        return Pair(network, detector, tuple(_run(built, size) for size in sizes))
    except MissingLevelError as error:
        return Pair(network, detector, missing=error.level, reason=str(error))
    except Exception as error:  # any error is the result of the pair and shown in the table
        return Pair(network, detector, reason=str(error) or type(error).__name__)


def try_pairs(networks: Iterable[str], side: int = 640) -> list[Pair]:
    """Try every network in every detector, by name, with a square image of ``side`` pixels."""
    ordered = sorted(networks, key=natural)
    return [try_pair(network, detector, [(side, side)]) for network in ordered for detector in DETECTORS]


def as_text(pairs: Sequence[Pair]) -> str:
    """Return networks by detectors for a terminal, each failure below it, and the verdict as the last line."""
    cells = {(pair.network, pair.detector): _cell(pair) for pair in pairs}
    networks, detectors = (list(dict.fromkeys(column)) for column in zip(*cells, strict=True))
    rows = [(network, *(cells[network, detector] for detector in detectors)) for network in networks]
    failures = [f'{pair.network} in {pair.detector}: {pair.reason}' for pair in pairs if pair.failed]
    table = aligned(('network', *detectors), rows, left=range(len(detectors) + 1))
    return '\n'.join([table, *failures, verdict(pairs)])


def verdict(pairs: Sequence[Pair]) -> str:
    """Return how many pairs can be built, how many lack a level, and how many fail, if any do."""
    refused = sum(pair.missing is not None for pair in pairs)
    failed = sum(pair.failed for pair in pairs)
    line = f'{len(pairs) - refused - failed} of {len(pairs)} pairs build, {refused} refused for want of a level'
    return line + (f', {failed} fail' if failed else '')


@functools.cache
def _model(detector: str) -> ConfigDict:
    return load_config(DETECTORS[detector]).model


@torch.no_grad()
def _run(model: torch.nn.Module, size: tuple[int, int]) -> Shapes:
    """Return the shapes for an image of (H, W) pixels.

    Raises:
        ValueError: a map does not have the size of its stride.
    """
    head = model.rpn_head if hasattr(model, 'rpn_head') else model.bbox_head
    strides = [w for w, _ in head.prior_generator.strides] if hasattr(head, 'prior_generator') else head.strides
    features = model.extract_feat(torch.empty(1, 3, *size, device='meta'))
    outputs = head(features)
    for maps in (features, *outputs):
        for x, stride in zip(maps, strides, strict=True):
            expected = tuple(-(-side // stride) for side in size)
            if x.shape[-2:] != expected:
                raise ValueError(f'a map of stride {stride} is {tuple(x.shape[-2:])}, not {expected}')
    return Shapes(_shapes(features), tuple(map(_shapes, outputs)))


def _shapes(maps: Iterable[Tensor]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(x.shape[1:]) for x in maps)


def _cell(pair: Pair) -> str:
    return '✗' if pair.failed else '✓' if pair.missing is None else f'no level {pair.missing}'
