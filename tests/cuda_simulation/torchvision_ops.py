"""torchvision's CUDA operators: the registered ones, or stand-ins that compute with mmcnn's on the CPU."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from . import operators
from .device import DeviceMixError, SimulatedTensor, values_of

if TYPE_CHECKING:
    from .simulation import CudaSimulation

# The attributes of mmcnn.ops with these names are functions, not the modules.
_NMS, _ROI_ALIGN = (importlib.import_module(f'mmcnn.ops.{name}') for name in ('nms', 'roi_align'))


def patches(gpu: CudaSimulation) -> Iterator[tuple[Any, str, Any]]:
    """(module, attribute, value) for every module of mmcnn that looks up operators."""
    original = _NMS.torchvision_op

    def look_up(name: str, device_type: str):
        if device_type != 'cuda':
            return original(name, device_type)
        if not gpu.torchvision:
            return None
        if original(name, 'cpu') and original(name, 'cuda'):
            return original(name, 'cuda')  # it reaches the dispatch mode
        return _stand_in(name, gpu)

    for name, module in list(sys.modules.items()):
        if name.startswith('mmcnn.') and vars(module).get('torchvision_op') is original:
            yield module, 'torchvision_op', look_up


def on_cpu(func, args, kwargs):
    """Runs an operator of torchvision on the CPU, where some have no kernel for half precision."""
    dtype = next((each.dtype for each in args if isinstance(each, Tensor)), None)
    if dtype not in (torch.float16, torch.bfloat16):
        return func(*args, **kwargs)
    args = [each.float() if isinstance(each, Tensor) and each.dtype == dtype else each for each in args]
    result = func(*args, **kwargs)
    return result.to(dtype) if result.is_floating_point() else result


def _stand_in(name: str, gpu: CudaSimulation):
    compute = {'nms': _nms, 'roi_align': _roi_align, '_roi_align_backward': _roi_align_backward}.get(name)
    if compute is None:
        return None

    def call(*args):
        tensors = [each for each in args if isinstance(each, Tensor)]
        if not all(isinstance(each, SimulatedTensor) for each in tensors):
            gpu.refuse(DeviceMixError(f'torchvision::{name} got tensors on the CPU'))
        types = {each.dtype for each in tensors}
        if len(types) > 1 or torch.bfloat16 in types:
            gpu.refuse(RuntimeError(f'torchvision::{name} got tensors of {", ".join(sorted(map(str, types)))}'))
        full = f'torchvision::{name}'
        if full in operators.WAITING:
            gpu.wait(full)
        if torch.are_deterministic_algorithms_enabled() and full in operators.NONDETERMINISTIC:
            gpu.refuse(RuntimeError(operators.why_it_is_not_deterministic(full, args)))
        gpu.kernel()
        return SimulatedTensor(
            compute(*(values_of(each.detach() if isinstance(each, Tensor) else each) for each in args))
        )

    return call


def _nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    return _NMS.nms(boxes, scores, iou_threshold)


def _roi_align(features, rois, spatial_scale, height, width, sampling_ratio, aligned) -> Tensor:
    forward = _ROI_ALIGN.roi_align_forward
    return forward(features, rois, (height, width), spatial_scale, sampling_ratio, 'avg', aligned)[0]


def _roi_align_backward(
    gradient, rois, spatial_scale, pooled_height, pooled_width, batch, channels, height, width, sampling_ratio, aligned
) -> Tensor:
    backward, empty = _ROI_ALIGN.roi_align_backward, gradient.new_empty(0)
    shape = batch, channels, height, width
    return backward(gradient, rois, empty, empty, shape, spatial_scale, sampling_ratio, 'avg', aligned)
