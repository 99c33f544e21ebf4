"""Networks for inference in mixed precision."""

from __future__ import annotations

from typing import Any

import torch
from mmcv.cnn.bricks import wrappers
from mmengine.model import BaseModel
from torch import nn

from .layers import SameConv2d
from .layers.one_pass import OnePassConv2d

#: Methods of a detector's parts that compute losses or boxes from the output of ``forward``.
AFTER_FORWARD = ('loss_by_feat', 'predict_by_feat', 'loss_and_target')
#: Parts of a model that are folded and store their weights in another precision, of any package; of the others only
#: this package's, which use their weights nowhere else.
NETWORKS = ('backbone', 'neck')
_OWN = 'mmcnn.models.'
#: Methods of MMDetection's DETRs that compute reference points, which boxes are relative to.
_OF_REFERENCE_POINTS = ('pre_decoder', 'forward_decoder')
#: MMDetection's heads whose ``forward`` ends with coordinates from 0 to 1, scores or boxes in pixels, and their
#: subclasses; by name, since importing them takes seconds.
_COMPLETE_IN_FORWARD = {'CenterNetHead', 'DETRHead', 'RTMDetHead'}
#: Layers whose products autocast computes in the lower precision; subclasses may use their weights in another way.
_PRODUCTS = (
    *(nn.Conv2d, nn.ConvTranspose2d, nn.Linear, SameConv2d, OnePassConv2d),
    *(wrappers.Conv2d, wrappers.ConvTranspose2d, wrappers.Linear),
)


def use_mixed_precision(model: BaseModel, dtype: torch.dtype) -> None:
    """Make a detector or classifier predict in mixed precision, as autocast defines it, with boxes in float32.

    The weights of its backbone and neck, and of heads of this package, are stored in ``dtype``, so that they are not
    converted for each image; autocast converts those of other heads. The parts can only be called on their own under
    autocast.

    Args:
        model: for inference only, on its device; changed in place.
        dtype: bfloat16, or float16 on a GPU.
    """
    own = (module for module in model.modules() if type(module).__module__.startswith(_OWN))
    for part in (*networks_of(model).values(), *own):
        store_weights(part, dtype)
    predict_boxes_in_float32(model)
    model.forward = _Autocast(model, 'forward', dtype)


def networks_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return the networks of a detector or classifier, by the names of these parts."""
    return {
        name: part
        for name, part in model.named_children()
        if (name in NETWORKS or type(part).__module__.startswith(_OWN)) and [*part.parameters()]
    }


def store_weights(network: nn.Module, dtype: torch.dtype) -> None:
    """Convert the weights that autocast would convert for each image, in place."""
    for module in network.modules():
        if type(module) in _PRODUCTS:
            module.to(dtype)


def predict_boxes_in_float32(model: nn.Module) -> None:
    """Let heads in evaluation mode compute boxes in float32 under autocast; a position needs more than 8 bits.

    Heads that complete boxes or scores in ``forward``, such as DETR's, are computed in float32 as a whole, and so are
    the decoders of DETRs, which refine reference points.
    """
    for module in model.modules():
        for name in ('predict_by_feat', *_OF_REFERENCE_POINTS):
            if hasattr(module, name):
                setattr(module, name, _Float32IfEvaluated(module, name))
        if any(hasattr(module, name) for name in AFTER_FORWARD):
            module.register_forward_hook(_in_float32_if_evaluated)
            if _COMPLETE_IN_FORWARD & {each.__name__ for each in type(module).__mro__}:
                module.forward = _Float32IfEvaluated(module, 'forward')


def in_float32(module: nn.Module, given: Any, found: Any) -> Any:
    """Return an output with its tensors of 16 bits converted to float32, as a forward hook."""
    if isinstance(found, torch.Tensor):
        return found.float() if found.dtype in (torch.bfloat16, torch.float16) else found
    if type(found) is dict:
        return {name: in_float32(module, given, each) for name, each in found.items()}
    if type(found) in (list, tuple):
        return type(found)(in_float32(module, given, each) for each in found)
    return found


def _in_float32_if_evaluated(module: nn.Module, given: Any, found: Any) -> Any:
    return found if module.training else in_float32(module, given, found)


class _Method:
    """Replaces a method of a module; unlike a function that keeps the module, it is copied with it."""

    def __init__(self, module: nn.Module, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(type(self.module), self.name)(self.module, *args, **kwargs)


class _Float32IfEvaluated(_Method):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.module.training:
            return super().__call__(*args, **kwargs)
        args, kwargs = (in_float32(self.module, None, given) for given in (args, kwargs))
        with torch.autocast(_device_type(self.module), enabled=False):
            return super().__call__(*args, **kwargs)


class _Autocast(_Method):
    def __init__(self, module: nn.Module, name: str, dtype: torch.dtype) -> None:
        super().__init__(module, name)
        self.dtype = dtype

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(_device_type(self.module), self.dtype):
            return super().__call__(*args, **kwargs)


def _device_type(module: nn.Module) -> str:
    return next((each.device.type for each in module.parameters()), 'cpu')
