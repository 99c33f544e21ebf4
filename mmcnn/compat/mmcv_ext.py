"""A stand-in for ``mmcv._ext``, mmcv's compiled operators, where mmcv is installed without them.

mmcv 2.x is published on PyPI as source whose build fails on current machines (open-mmlab/mmcv issue 3325); mmcv-lite
has the same Python files and no extension, and then ``import mmdet.models`` fails with ``No module named 'mmcv._ext'``
(mmcv issue 2059, mmdetection issues 3271 and 11475). The operators that MMDetection's detectors need are given here by
:mod:`mmcnn.ops`; any other raises when it is called, not when it is imported. A compiled mmcv is never touched.
"""

from collections.abc import Callable
from types import ModuleType
from typing import NoReturn

from torch import Tensor

from mmcnn import ops


def fill(extension: ModuleType) -> None:
    """Make an empty module the stand-in; called when ``mmcv._ext`` is imported (:mod:`mmcnn.compat.finder`)."""
    extension.__doc__ = __doc__
    for operator in _OPERATORS:
        setattr(extension, operator.__name__, operator)
    extension.__getattr__ = _missing


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the kept boxes, see :func:`mmcnn.ops.nms`."""
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


def get_compiler_version() -> str:
    """What ``mmcv.utils.collect_env()`` reports; it would stop at an error."""
    return 'n/a'


def get_compiling_cuda_version() -> str:
    """See :func:`get_compiler_version`."""
    return 'n/a'


_POOL_MODES = ('max', 'avg')
_OPERATORS = (
    nms,
    roi_align_forward,
    roi_align_backward,
    sigmoid_focal_loss_forward,
    sigmoid_focal_loss_backward,
    get_compiler_version,
    get_compiling_cuda_version,
)


def _missing(name: str) -> Callable[..., NoReturn]:
    # Python looks such names up to learn about a module; an answer would be taken as yes.
    if name.startswith('__'):
        raise AttributeError(f"module 'mmcv._ext' has no attribute {name!r}")

    def operator(*args: object, **kwargs: object) -> NoReturn:
        raise NotImplementedError(
            f'the operator `{name}` needs a compiled mmcv, and this one is mmcv-lite: run `pip uninstall mmcv-lite`, '
            'then, with a C++ compiler at hand, `pip install "setuptools<81" ninja` and '
            '`pip install --no-build-isolation mmcv==2.1.0`.'
        )

    operator.__name__ = operator.__qualname__ = name
    return operator
