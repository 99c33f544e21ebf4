"""The loss of a detector for a few drawn objects, so that what breaks at the first step breaks before it.

On the meta device no detector of MMDetection gets there: whoever assigns objects to places asks which of them match
(``nonzero``, ``item``), and that has no numbers there. So this is a real forward pass on the CPU, in full width on
images of 128 pixels.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData, PixelData
from torch import nn

from mmcnn.compat.private_names import put_instances, taken_instances
from mmcnn.engine.random_state import kept_random_state
from mmcnn.errors import UsageError
from mmcnn.models.wiring.proving import SIDES, first_line, is_misfit
from mmcnn.models.wiring.slots import one_size

#: Two: BatchNorm of a map of one place needs more values than one.
IMAGES = 2


@dataclass(frozen=True)
class Given:
    """What the data of a training gives beside boxes and classes."""

    masks: bool = False
    semantic_stride: int | None = None  # of the map of semantic classes; None: there is none


def prove_loss(model: dict, given: Given) -> list[str]:
    """Computes a detector's loss for two drawn images with two objects each. Random state is left alone.

    Args:
        model: a wired config (:func:`~mmcnn.models.wiring.wire`). Not changed; weights are not loaded.
        given: what its data will give.

    Returns:
        what could not be proven, a sentence; empty: all is, or the model is no plain detector.

    Raises:
        UsageError: a part does not take what another gives; says what PyTorch says of it.
    """
    side = one_size(model)
    sides = (side,) if side else SIDES
    with kept_random_state(), _quiet(), _first_iteration(), DefaultScope.overwrite_default_scope('mmdet'):
        torch.manual_seed(0)
        try:
            detector = revert_sync_batchnorm(MMDET_MODELS.build(without_weights(model))).train()
            detector.init_weights()  # some start from proposals that are no boxes before it
        except Exception as error:  # of whatever part
            return [_unproven(error)]
        for each in sides:
            try:
                _loss(detector, each, given)
                return []
            except Exception as error:  # of whatever part; what it says decides
                found = error
    # The semantic map is drawn by what a pipeline says of it; a transform of the user's own may make another of it.
    if is_misfit(found) and given.semantic_stride is None:
        raise UsageError(f'the loss of the model breaks off at the first step: {first_line(found)}') from found
    return [_unproven(found)]


def without_weights(model: dict) -> ConfigDict:
    """A copy of a model's config with nothing to be downloaded."""
    model = ConfigDict(copy.deepcopy(dict(model)))
    for part in _dicts(model):
        if (part.get('init_cfg') or {}) and 'Pretrained' in str(part['init_cfg']):
            part['init_cfg'] = None
        if part.get('pretrained'):  # of timm's networks, and what older configs of MMDetection say
            part['pretrained'] = None
    return model


def _dicts(node: Any) -> Iterator[dict]:
    if isinstance(node, dict):
        yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ():
        yield from _dicts(each)


@torch.no_grad()
def _loss(detector: nn.Module, side: int, given: Given) -> None:
    preprocessor = detector.data_preprocessor
    if getattr(preprocessor, 'batch_augments', None):
        preprocessor.batch_augments = None  # they pad, to 1024 pixels, or resize after some iterations
    images = [torch.randint(0, 256, (3, side, side), dtype=torch.uint8) for _ in range(IMAGES)]
    data = preprocessor(dict(inputs=images, data_samples=[_sample(side, given) for _ in images]), True)
    detector(**data, mode='loss')


def _sample(side: int, given: Given) -> DetDataSample:
    """Two objects of class 0, of which one is small."""
    size, half = (side, side), side // 2
    sample = DetDataSample(
        metainfo=dict(
            img_id=0, img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0), flip=False, flip_direction=None
        )
    )
    boxes = torch.tensor([[4, 6, half + 4, half + 9], [half, half, half + 20, half + 16]])
    sample.gt_instances = InstanceData(bboxes=boxes.float(), labels=torch.zeros(2, dtype=torch.long))
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    sample.proposals = InstanceData(bboxes=boxes.float() + 2, scores=torch.ones(2))
    if given.masks:
        masks = np.zeros((2, side, side), np.uint8)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes.tolist(), strict=True):
            mask[y0:y1, x0:x1] = 1
        sample.gt_instances.masks = BitmapMasks(masks, side, side)
        sample.ignored_instances.masks = BitmapMasks(np.zeros((0, side, side), np.uint8), side, side)
    if given.semantic_stride is not None:
        places = -(-side // given.semantic_stride)
        sample.gt_sem_seg = PixelData(sem_seg=torch.zeros(1, places, places, dtype=torch.long))
    return sample


@contextlib.contextmanager
def _first_iteration() -> Iterator[None]:
    """The number of the iteration and of the epoch as the Runner gives it; YOLOX and TOOD ask for it."""
    kept = taken_instances(MessageHub)
    try:
        for count in ('iter', 'epoch'):
            MessageHub.get_current_instance().update_info(count, 0)
        yield
    finally:
        taken_instances(MessageHub)
        put_instances(MessageHub, kept)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """MMEngine logs every tensor that is initialised."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _unproven(error: Exception) -> str:
    return f'not proven before the first step: the loss ({type(error).__name__}: {first_line(error)})'
