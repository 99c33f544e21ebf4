"""The loss of a detector for a few synthetic objects, so that errors of the first step are found before it.

No detector of MMDetection computes a loss on the meta device: assigning objects to places needs actual values
(``nonzero``, ``item``), which it does not have. So this is a real forward pass on the CPU, at full width on images of
128 pixels.
"""

from __future__ import annotations

import contextlib
import copy
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
from mmcnn.silence import silenced

#: Two, because BatchNorm of a 1x1 map needs more than one value.
IMAGES = 2


@dataclass(frozen=True)
class Given:
    """What the training data provides besides boxes and classes."""

    masks: bool = False
    semantic_stride: int | None = None  # stride of the semantic segmentation map; None: there is none


def prove_loss(model: dict, given: Given) -> list[str]:
    """Compute a detector's loss for two synthetic images with two objects each. The random state is left unchanged.

    Args:
        model: a wired config (:func:`~mmcnn.models.wiring.wire`). It is not changed; weights are not loaded.
        given: what its data will provide.

    Returns:
        Sentences about what could not be proven; empty if everything was, or if the model is not a plain detector.

    Raises:
        UsageError: a part does not accept the output of another; the message includes PyTorch's.
    """
    side = one_size(model)
    sides = (side,) if side else SIDES
    # MMEngine logs every tensor that is initialised.
    with kept_random_state(), silenced(), _first_iteration(), DefaultScope.overwrite_default_scope('mmdet'):
        torch.manual_seed(0)
        try:
            detector = revert_sync_batchnorm(MMDET_MODELS.build(without_weights(model))).train()
            detector.init_weights()  # some detectors start from proposals that are not boxes before this
        except Exception as error:  # any error of any part
            return [_unproven(error)]
        for each in sides:
            try:
                _loss(detector, each, given)
                return []
            except Exception as error:  # any error of any part; its message decides
                found = error
    # The size of the semantic map is taken from the pipeline; a custom transform may change it.
    if is_misfit(found) and given.semantic_stride is None:
        raise UsageError(f'the loss of the model fails at the first step: {first_line(found)}') from found
    return [_unproven(found)]


def without_weights(model: dict) -> ConfigDict:
    """Return a copy of a model's config without anything that has to be downloaded."""
    model = ConfigDict(copy.deepcopy(dict(model)))
    for part in _dicts(model):
        if (part.get('init_cfg') or {}) and 'Pretrained' in str(part['init_cfg']):
            part['init_cfg'] = None
        if part.get('pretrained'):  # for timm's networks and older configs of MMDetection
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
        preprocessor.batch_augments = None  # they pad to 1024 pixels, or resize after some iterations
    images = [torch.randint(0, 256, (3, side, side), dtype=torch.uint8) for _ in range(IMAGES)]
    data = preprocessor(dict(inputs=images, data_samples=[_sample(side, given) for _ in images]), True)
    detector(**data, mode='loss')


def _sample(side: int, given: Given) -> DetDataSample:
    """Return a sample with two objects of class 0, one of which is small."""
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
    """Provide the numbers of iteration and epoch as the Runner does; YOLOX and TOOD ask for them."""
    kept = taken_instances(MessageHub)
    try:
        for count in ('iter', 'epoch'):
            MessageHub.get_current_instance().update_info(count, 0)
        yield
    finally:
        taken_instances(MessageHub)
        put_instances(MessageHub, kept)


def _unproven(error: Exception) -> str:
    return f'not proven before the first step: the loss ({type(error).__name__}: {first_line(error)})'
