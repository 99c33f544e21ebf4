"""Operators that MMDetection expects in compiled form, in plain PyTorch and NumPy."""

from mmcnn.ops.focal_loss import sigmoid_focal_loss_backward, sigmoid_focal_loss_forward
from mmcnn.ops.nms import NMS_KINDS, batched_nms, nms, torchvision_op
from mmcnn.ops.roi_align import roi_align_backward, roi_align_forward

__all__ = [
    'NMS_KINDS',
    'batched_nms',
    'nms',
    'roi_align_backward',
    'roi_align_forward',
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
    'torchvision_op',
]
