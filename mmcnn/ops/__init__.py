"""Operators that MMDetection expects in compiled form, in plain PyTorch and NumPy.

Each name is loaded on first use: ``greedy_sweep`` alone needs no PyTorch.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmcnn.ops.deform_conv import DeformConv, DeformConvGradients, deform_conv_backward, deform_conv_forward
    from mmcnn.ops.focal_loss import sigmoid_focal_loss_backward, sigmoid_focal_loss_forward
    from mmcnn.ops.greedy_sweep import NMS_KINDS
    from mmcnn.ops.masked_conv import masked_col2im, masked_im2col
    from mmcnn.ops.nms import batched_nms, nms, nms_of_images, torchvision_op
    from mmcnn.ops.roi_align import roi_align_backward, roi_align_forward

__all__ = [
    'NMS_KINDS',
    'DeformConv',
    'DeformConvGradients',
    'batched_nms',
    'deform_conv_backward',
    'deform_conv_forward',
    'masked_col2im',
    'masked_im2col',
    'nms',
    'nms_of_images',
    'roi_align_backward',
    'roi_align_forward',
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
    'torchvision_op',
]

#: Name -> its module.
_MODULE_OF = {
    'NMS_KINDS': 'greedy_sweep',
    'DeformConv': 'deform_conv',
    'DeformConvGradients': 'deform_conv',
    'batched_nms': 'nms',
    'deform_conv_backward': 'deform_conv',
    'deform_conv_forward': 'deform_conv',
    'masked_col2im': 'masked_conv',
    'masked_im2col': 'masked_conv',
    'nms': 'nms',
    'nms_of_images': 'nms',
    'roi_align_backward': 'roi_align',
    'roi_align_forward': 'roi_align',
    'sigmoid_focal_loss_backward': 'focal_loss',
    'sigmoid_focal_loss_forward': 'focal_loss',
    'torchvision_op': 'nms',
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'mmcnn.ops' has no attribute '{name}'")
    value = getattr(import_module(f'{__name__}.{_MODULE_OF[name]}'), name)
    setattr(sys.modules[__name__], name, value)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Operators(ModuleType):
    """Keeps ``mmcnn.ops.nms`` the function when the module of that name is imported, which Python would put there."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _MODULE_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Operators
