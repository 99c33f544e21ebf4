"""Networks that compute in float16, between inputs and outputs in float32."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.detectors import BaseDetector
from mmdet.models.roi_heads import BaseRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from torch import Tensor, nn

from mmcnn.deployment.faster_rcnn import ExportableFasterRCNN
from mmcnn.deployment.forms import Decoded, Logits, Maps, Normalised
from mmcnn.deployment.nms import WithNMS

#: Parts that compute more than their layers do: normalisation, boxes from maps, NMS. They stay in float32, since in
#: float16 a coordinate of 640 px has hardly more than one fractional bit.
_AROUND = (
    Normalised,
    Decoded,
    Logits,
    Maps,
    WithNMS,
    ExportableFasterRCNN,
    BaseDetector,
    BaseDenseHead,
    BaseRoIHead,
    BBoxHead,
    nn.ModuleList,
)


def in_half(module: nn.Module) -> nn.Module:
    """Return a copy whose backbone, neck and layers of heads have float16 weights and compute in float16.

    Everything else is computed in float32, as are inputs and outputs.
    """
    halved = copy.deepcopy(module)
    for layers in _layers(halved):
        layers.half()
        layers.register_forward_pre_hook(lambda _, inputs: _cast(inputs, torch.float16))
        layers.register_forward_hook(lambda _, inputs, outputs: _cast(outputs, torch.float32))
    return halved


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the largest parts with weights that consist only of layers."""
    if isinstance(module, _AROUND):
        for child in module.children():
            yield from _layers(child)
    elif any(True for _ in module.parameters()):
        yield module


def _cast(values: Any, dtype: torch.dtype) -> Any:
    """Return tensors, or tuples of them, in another floating-point type."""
    if isinstance(values, Tensor):
        return values.to(dtype) if values.is_floating_point() else values
    return type(values)(_cast(each, dtype) for each in values)
