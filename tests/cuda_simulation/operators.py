"""CUDA's operators that make the host wait, start no kernel, or are not deterministic.

Names are ATen's, without overloads; those of other libraries have their namespace. Sources: PyTorch's CUDA kernels
(aten/src/ATen/native/cuda), the docstring of ``torch.use_deterministic_algorithms`` and the documentation's notes on
CUDA semantics; test_cuda_build.py compares the names with the strings of a CUDA build.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor

#: Operators that wait with any arguments: they read a number, or the size of their result, from the device.
WAITING = {
    '_local_scalar_dense': 'a number is read (item)',
    'nonzero': 'nonzero',
    'masked_select': 'masked_select',
    'equal': 'torch.equal',
    '_unique': 'unique',
    '_unique2': 'unique',
    'unique_dim': 'unique',
    'unique_consecutive': 'unique',
    'unique_dim_consecutive': 'unique',
    'bincount': 'bincount',
    'histc': 'histc',
    '_linalg_check_errors': 'the status of a decomposition is read',
    'torchvision::nms': 'torchvision::nms',
}
#: Operators that only allocate or inspect.
WITHOUT_KERNEL = {
    'empty', 'empty_like', 'empty_strided', 'new_empty', 'new_empty_strided', '_local_scalar_dense', 'lift_fresh',
    'set_', 'detach', 'alias',
}  # fmt: skip
#: Operators without a deterministic kernel, which ``torch.use_deterministic_algorithms(True)`` refuses, with the name
#: that CUDA's library reports. In this mode F.interpolate and F.pad avoid those of bilinear upsampling and replication.
NONDETERMINISTIC = {
    '_adaptive_avg_pool2d_backward': 'adaptive_avg_pool2d_backward_cuda',
    'adaptive_max_pool2d_backward': 'adaptive_max_pool2d_backward_cuda',
    'avg_pool3d_backward': 'avg_pool3d_backward_cuda',
    'fractional_max_pool2d_backward': 'fractional_max_pool2d_backward_cuda',
    'grid_sampler_2d_backward': 'grid_sampler_2d_backward_cuda',
    'histc': '_histc_cuda',
    'max_unpool2d': 'max_unpooling2d_forward_out',
    'nll_loss2d_backward': 'nll_loss2d_backward_out_cuda_template',
    'nll_loss2d_forward': 'nll_loss2d_forward_out_cuda_template',
    'put_': 'put_',
    'reflection_pad2d_backward': 'reflection_pad2d_backward_cuda',
    'replication_pad2d_backward': 'replication_pad2d_backward_cuda',
    'upsample_bicubic2d_backward': 'upsample_bicubic2d_backward_out_cuda',
    'upsample_bilinear2d_backward': 'upsample_bilinear2d_backward_out_cuda',
    'upsample_linear1d_backward': 'upsample_linear1d_backward_out_cuda',
    'cumsum': 'cumsum_cuda_kernel',
    'torchvision::_roi_align_backward': 'roi_align_backward_kernel',
    'torchvision::_deform_conv2d_backward': 'compute_grad_input',
}
#: Matrix products by cuBLAS, whose results may depend on its workspace.
CUBLAS = {'mm', 'addmm', 'bmm', 'baddbmm', 'addmv', 'mv', 'dot', '_addmm_activation', 'addbmm'}
WORKSPACES = (':4096:8', ':16:8')
#: Operators that take a zero-dimensional tensor from the CPU although they are not tagged as pointwise.
TAKES_CPU_SCALARS = {
    'index_put', 'index_put_', '_index_put_impl_', 'where', 'fill', 'fill_', 'masked_fill', 'masked_fill_', 'lerp',
    'lerp_', 'full_like', 'index_fill', 'index_fill_', 'copy_', 'eq', 'ne',
}  # fmt: skip
INDEXING = {'index', '_unsafe_index', 'index_put', 'index_put_', '_index_put_impl_', '_unsafe_index_put'}
_MASKS = (torch.bool, torch.uint8)


def name_of(func) -> str:
    """Name of an operator as in the tables."""
    return func._schema.name.removeprefix('aten::')


def is_view(func) -> bool:
    """Whether an operator returns a view of an argument."""
    return any(each.alias_info is not None and not each.alias_info.is_write for each in func._schema.returns)


def why_it_waits(name: str, args: Sequence, kwargs: dict) -> str | None:
    """Why an operator on the device makes the host wait; None: it does not."""
    if name in INDEXING:
        masks = [each for each in args[1] if isinstance(each, Tensor) and each.dtype in _MASKS]
        return 'a boolean mask is turned into indices' if masks and not _fills_by_mask(name, args, kwargs) else None
    if name == 'repeat_interleave' and kwargs.get('output_size') is None:
        return 'repeat_interleave without output_size'
    return WAITING.get(name)


def _fills_by_mask(name: str, args: Sequence, kwargs: dict) -> bool:
    """Whether ``x[mask] = number`` becomes ``masked_fill_`` (canDispatchToMaskedFill, TensorAdvancedIndexing.cpp)."""
    if name in ('index', '_unsafe_index'):
        return False
    accumulates = args[3] if len(args) > 3 else kwargs.get('accumulate', False)
    indices = [each for each in args[1] if each is not None]
    value = args[2]
    return not accumulates and len(indices) == 1 and value.numel() == 1 and value.device.type == 'cpu'


def why_it_is_not_deterministic(name: str, args: Sequence) -> str | None:
    """PyTorch's error for an operator in deterministic mode; None: it has a deterministic kernel."""
    if name == 'cumsum' and not args[0].is_floating_point():
        return None
    if name in NONDETERMINISTIC:
        return f'{NONDETERMINISTIC[name]} does not have a deterministic implementation'
    if name in CUBLAS and os.environ.get('CUBLAS_WORKSPACE_CONFIG') not in WORKSPACES:
        return (
            f'{name} is a product by cuBLAS, which is deterministic with CUBLAS_WORKSPACE_CONFIG={WORKSPACES[0]} only'
        )
    return None
