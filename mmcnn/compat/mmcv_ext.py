"""A stand-in for ``mmcv._ext``, mmcv's compiled operators, if mmcv is installed without them.

mmcv 2.x is published on PyPI as source, which fails to build on current machines (open-mmlab/mmcv issue 3325);
mmcv-lite has the same Python files but no extension, so ``import mmdet.models`` fails with ``No module named
'mmcv._ext'`` (mmcv issue 2059, mmdetection issues 3271 and 11475). The operators that MMDetection's detectors need are
provided here by :mod:`mmcnn.ops`; any other raises an error when it is called, not when it is imported. A compiled mmcv
is never changed.
"""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import NoReturn

import torch
from torch import Tensor
from torch.nn import functional as F

from mmcnn import ops


def fill(extension: ModuleType) -> None:
    """Make an empty module the stand-in; called when ``mmcv._ext`` is imported (:mod:`mmcnn.compat.finder`)."""
    extension.__doc__ = __doc__
    for operator in _OPERATORS:
        setattr(extension, operator.__name__, operator)
    extension.__getattr__ = _missing


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Return the indices of the kept boxes, see :func:`mmcnn.ops.nms`."""
    return ops.nms(boxes, scores, iou_threshold, offset)


def roi_align_forward(
    features: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fill ``output`` and, for max pooling, the two argmax tensors, see :func:`mmcnn.ops.roi_align_forward`."""
    size, mode = (aligned_height, aligned_width), _POOL_MODES[pool_mode]
    results = ops.roi_align_forward(features, rois, size, spatial_scale, sampling_ratio, mode, aligned)
    for destination, result in zip((output, argmax_y, argmax_x), results, strict=True):
        destination.copy_(result)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fill ``grad_input``, see :func:`mmcnn.ops.roi_align_backward`."""
    mode = _POOL_MODES[pool_mode]
    settings = (grad_input.shape, spatial_scale, sampling_ratio, mode, aligned)
    grad_input.copy_(ops.roi_align_backward(grad_output, rois, argmax_y, argmax_x, *settings))


def sigmoid_focal_loss_forward(
    logits: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``output``, see :func:`mmcnn.ops.sigmoid_focal_loss_forward`."""
    output.copy_(ops.sigmoid_focal_loss_forward(logits, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    logits: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``grad_input``, see :func:`mmcnn.ops.sigmoid_focal_loss_backward`."""
    grad_input.copy_(ops.sigmoid_focal_loss_backward(logits, target, weight, gamma, alpha))


def deform_conv_forward(
    features: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor, **settings: int
) -> None:
    """Fill ``output``, see :func:`mmcnn.ops.deform_conv_forward`; the two buffers are unchanged."""
    output.copy_(ops.deform_conv_forward(features, offset, weight, conv=_conv_of_v1(settings)))


def deform_conv_backward_input(
    features: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **settings: int,
) -> None:
    """Fill ``grad_input`` and ``grad_offset``, see :func:`mmcnn.ops.deform_conv_backward`."""
    conv = _conv_of_v1(settings)
    grads = ops.deform_conv_backward(grad_output, features, offset, weight, conv=conv, wanted=('input', 'offset'))
    grad_input.copy_(grads.input)
    grad_offset.copy_(grads.offset)


def deform_conv_backward_parameters(
    features: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float,
    **settings: int,
) -> None:
    """Add ``scale`` times the gradient of the weight to ``grad_weight``."""
    conv = _conv_of_v1(settings)
    grads = ops.deform_conv_backward(grad_output, features, offset, grad_weight, conv=conv, wanted=('weight',))
    grad_weight.add_(grads.weight, alpha=scale)


def modulated_deform_conv_forward(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    with_bias: bool,
    **settings: int,
) -> None:
    """Fill ``output``, see :func:`mmcnn.ops.deform_conv_forward`; the two buffers are unchanged.

    Each image of ``offset`` and ``mask`` is read from its start as if it had the size of the output, and may be larger.
    MMDetection's DyHead, including its published weights, passes those of a finer level.
    """
    conv = _conv_of_v2(settings)
    offset, mask = (_of_size(each, output.shape[2:]) for each in (offset, mask))
    output.copy_(ops.deform_conv_forward(features, offset, weight, mask, bias if with_bias else None, conv))


def modulated_deform_conv_backward(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    with_bias: bool,
    **settings: int,
) -> None:
    """Fill the gradients, see :func:`mmcnn.ops.deform_conv_backward`; unread parts of an offset or mask get 0."""
    conv = _conv_of_v2(settings)
    offset, mask = (_of_size(each, grad_output.shape[2:]) for each in (offset, mask))
    grads = ops.deform_conv_backward(grad_output, features, offset, weight, mask, conv)
    grad_input.copy_(grads.input)
    grad_weight.copy_(grads.weight)
    for destination, grad in ((grad_offset, grads.offset), (grad_mask, grads.mask)):
        rest = destination[0].numel() - grad[0].numel() if len(grad) else 0
        destination.copy_(F.pad(grad.flatten(1), (0, rest)).view_as(destination))
    if with_bias:
        grad_bias.copy_(grad_output.sum((0, 2, 3), dtype=torch.promote_types(grad_output.dtype, torch.float32)))


def masked_im2col_forward(
    features: Tensor,
    y: Tensor,
    x: Tensor,
    columns: Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """Fill ``columns``, see :func:`mmcnn.ops.masked_im2col`."""
    columns.copy_(ops.masked_im2col(features, y, x, (kernel_h, kernel_w), (pad_h, pad_w)))


def masked_col2im_forward(
    columns: Tensor, y: Tensor, x: Tensor, output: Tensor, height: int, width: int, channels: int
) -> None:
    """Fill ``output``, see :func:`mmcnn.ops.masked_col2im`."""
    output.copy_(ops.masked_col2im(columns, y, x, (height, width)))


def get_compiler_version() -> str:
    """Return what ``mmcv.utils.collect_env()`` reports; an error would stop it."""
    return 'n/a'


def get_compiling_cuda_version() -> str:
    """See :func:`get_compiler_version`."""
    return 'n/a'


def _conv_of_v1(of: Mapping[str, int]) -> ops.DeformConv:
    # kH and kW are the weight's; mmcnn.ops bounds its memory without im2col_step.
    pairs = ((of['dH'], of['dW']), (of['padH'], of['padW']), (of['dilationH'], of['dilationW']))
    return ops.DeformConv(*pairs, of['group'], of['deformable_group'])


def _conv_of_v2(of: Mapping[str, int]) -> ops.DeformConv:
    pairs = ((of[f'{name}_h'], of[f'{name}_w']) for name in ('stride', 'pad', 'dilation'))
    return ops.DeformConv(*pairs, of['group'], of['deformable_group'])


def _of_size(tensor: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the start of each image of ``(N, C, H, W)`` as ``(N, C, *size)``; unchanged if it is too small."""
    count = tensor.size(1) * size[0] * size[1]
    if tensor.shape[2:] == size or count > tensor.size(1) * tensor.size(2) * tensor.size(3):
        return tensor
    return tensor.flatten(1)[:, :count].unflatten(1, (-1, *size))


_POOL_MODES = ('max', 'avg')
_OPERATORS = (
    nms,
    roi_align_forward,
    roi_align_backward,
    sigmoid_focal_loss_forward,
    sigmoid_focal_loss_backward,
    deform_conv_forward,
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    modulated_deform_conv_forward,
    modulated_deform_conv_backward,
    masked_im2col_forward,
    masked_col2im_forward,
    get_compiler_version,
    get_compiling_cuda_version,
)


def _missing(name: str) -> Callable[..., NoReturn]:
    # Python looks up such names to inspect a module; any attribute would count as a yes.
    if name.startswith('__'):
        raise AttributeError(f"module 'mmcv._ext' has no attribute {name!r}")

    def operator(*args: object, **kwargs: object) -> NoReturn:
        raise NotImplementedError(
            f'the operator `{name}` needs a compiled mmcv, but this one is mmcv-lite: run `pip uninstall mmcv-lite`, '
            'then, with a C++ compiler, `pip install "setuptools<81" ninja` and '
            '`pip install --no-build-isolation mmcv==2.1.0`.'
        )

    operator.__name__ = operator.__qualname__ = name
    return operator
