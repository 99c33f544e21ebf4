"""Deformable convolution and its gradients in plain PyTorch.

Version 1 is by Dai et al. (arXiv 1703.06211), version 2 with a mask by Zhu et al. (arXiv 1811.11168).

A sample is a weighted sum of the four cells around it, which is what ``embedding_bag`` computes: the cells are its
table, the bilinear weights (times the mask of v2) its ``per_sample_weights``. Its own gradients scatter to the cells
and yield the dot products for the offsets and the mask. The rest is a matrix product with the kernel.

On a CPU this is several times as fast as torchvision's operator, which uses one thread there; on CUDA torchvision's
is used if it can be loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mmcnn.ops.nms import torchvision_op

# Elements of the columns (samples times channels) of one chunk: 64 MB in float32.
MAX_ELEMENTS = 1 << 24


class DeformConv(NamedTuple):
    """The settings of a deformable convolution; pairs are (height, width)."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    deform_groups: int = 1

    def output_size(self, size: tuple[int, int], kernel: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of the output for those of the input."""
        axes = zip(size, kernel, self.stride, self.padding, self.dilation, strict=True)
        return tuple(
            (length + 2 * pad - dilation * (k - 1) - 1) // stride + 1 for length, k, stride, pad, dilation in axes
        )


class DeformConvGradients(NamedTuple):
    """Gradients, each with the shape and type of its tensor; None: not requested, or there is no mask."""

    input: Tensor | None = None
    offset: Tensor | None = None
    weight: Tensor | None = None
    mask: Tensor | None = None


def deform_conv_forward(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    conv: DeformConv = DeformConv(),  # noqa: B008  (it cannot be changed)
) -> Tensor:
    """Compute a deformable convolution with the semantics of mmcv's operators; v1 without a ``mask``, v2 with one.

    A sample between the border and one cell outside of it fades to 0; farther out it is 0. It is computed in float32 or
    more: half precision cannot represent positions in a map of several hundred cells.

    Args:
        input: ``(N, C, H, W)``, float16, bfloat16, float32 or float64 on any device.
        offset: ``(N, D * K * 2, H_out, W_out)`` in cells, y before x, for each of the K positions of the kernel, for
            each of the D deform groups, among which the channels are divided.
        weight: ``(C_out, C / groups, K_h, K_w)``.
        mask: ``(N, D * K, H_out, W_out)``, factors of the samples; None: all are 1.
        bias: ``(C_out,)``; None: there is none.
        conv: stride, padding, dilation and groups.

    Returns:
        ``(N, C_out, H_out, W_out)`` in the type of the input.

    Raises:
        ValueError: the shapes do not match.
    """
    size = _check(input, offset, weight, mask, bias, conv)
    dtype = torch.promote_types(input.dtype, torch.float32)
    wide = [None if each is None else each.to(dtype) for each in (input, offset, weight, mask, bias)]
    with torch.autocast(_autocast_device(input), enabled=False):
        if op := torchvision_op_for('deform_conv2d', input):
            return op(*_torchvision_arguments(*wide, conv)).to(input.dtype)
        samples = _Samples(*wide[:4], conv, size)
        output = wide[0].new_empty(input.size(0), weight.size(0), size[0] * size[1])
        for chunk in samples.chunks():
            output[chunk.images, :, chunk.positions] = chunk.output(*chunk.leaves())
        if bias is not None:
            output += wide[4][:, None]
    return output.unflatten(2, size).to(input.dtype)


def deform_conv_backward(
    grad_output: Tensor,
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None = None,
    conv: DeformConv = DeformConv(),  # noqa: B008
    wanted: Collection[str] = DeformConvGradients._fields,
) -> DeformConvGradients:
    """Return the gradients of :func:`deform_conv_forward`, except that of the bias.

    The gradient of the bias is the sum of ``grad_output`` over all dimensions except the channels.

    At integer positions, where the slope of a sample changes, the gradient of the offset is the slope to the right or
    below; for samples one cell or more outside the map it is 0 (as in mmcv's operators).

    Args:
        grad_output: ``(N, C_out, H_out, W_out)``.
        input: see the forward pass.
        offset: see the forward pass.
        weight: see the forward pass.
        mask: see the forward pass.
        conv: see the forward pass.
        wanted: which gradients to compute, of ``'input'``, ``'offset'``, ``'weight'`` and ``'mask'``.

    Raises:
        ValueError: see the forward pass.
    """
    size = _check(input, offset, weight, mask, None, conv)
    given = dict(zip(DeformConvGradients._fields, (input, offset, weight, mask), strict=True))
    wanted = [name for name in given if name in wanted and given[name] is not None]
    dtype = torch.promote_types(input.dtype, torch.float32)
    wide = [None if each is None else each.to(dtype) for each in given.values()]
    samples = _Samples(*wide, conv, size)
    with torch.autocast(_autocast_device(input), enabled=False):
        op = torchvision_op_for('_deform_conv2d_backward', input)
        if op and wanted != ['weight']:  # it computes all or nothing; for the weight alone ours is cheaper
            bias = wide[2].new_zeros(weight.size(0))
            every = op(grad_output.to(dtype), *_torchvision_arguments(*wide, bias, conv))
            grads = dict(zip(('input', 'weight', 'offset', 'mask'), every, strict=False))
            # Exactly one cell outside, torchvision returns the slope to the right.
            grads['offset'] = grads['offset'] * samples.inside().expand(-1, -1, -1, 2, -1).reshape(offset.shape)
        else:
            grads = samples.gradients(grad_output.to(dtype).flatten(2), wanted)
    return DeformConvGradients(**{name: grads[name].view_as(given[name]).to(given[name].dtype) for name in wanted})


def torchvision_op_for(name: str, tensor: Tensor) -> Callable | None:
    """Return torchvision's operator if it is faster, which is on CUDA; None if it cannot be loaded."""
    return torchvision_op(name, tensor.device.type) if tensor.is_cuda else None


def _autocast_device(tensor: Tensor) -> str:
    return 'cpu' if tensor.is_meta else tensor.device.type


def _check(
    input: Tensor, offset: Tensor, weight: Tensor, mask: Tensor | None, bias: Tensor | None, conv: DeformConv
) -> tuple[int, int]:
    if input.dim() != 4 or weight.dim() != 4:
        raise ValueError(
            'the input must have shape (N, C, H, W) and the weight (C_out, C / groups, K_h, K_w), not '
            f'{tuple(input.shape)} and {tuple(weight.shape)}'
        )
    batch, channels = input.shape[:2]
    outputs, per_group, *kernel = weight.shape
    if channels != per_group * conv.groups or outputs % conv.groups or channels % conv.deform_groups:
        raise ValueError(
            f'{channels} channels, a weight {tuple(weight.shape)}, {conv.groups} groups and {conv.deform_groups} '
            'deform groups do not match: both kinds of groups must divide the channels, and the weight must '
            'have channels / groups of them'
        )
    size = conv.output_size(tuple(input.shape[2:]), tuple(kernel))
    if min(size) < 1:
        raise ValueError(
            f'an input of {input.size(2)} x {input.size(3)} with a padding of {conv.padding} is smaller than the '
            f'kernel of {kernel[0]} x {kernel[1]} with a dilation of {conv.dilation}'
        )
    samples = conv.deform_groups * kernel[0] * kernel[1]
    expected = dict(offset=(batch, 2 * samples, *size), mask=(batch, samples, *size), bias=(outputs,))
    for name, tensor in (('offset', offset), ('mask', mask), ('bias', bias)):
        if tensor is not None and tuple(tensor.shape) != expected[name]:
            raise ValueError(f'the {name} must have shape {expected[name]}, not {tuple(tensor.shape)}')
    return size


def _torchvision_arguments(
    input: Tensor, offset: Tensor, weight: Tensor, mask: Tensor | None, bias: Tensor | None, conv: DeformConv
) -> tuple:
    use_mask = mask is not None
    mask = mask if use_mask else input.new_zeros(input.size(0), 1)
    bias = input.new_zeros(weight.size(0)) if bias is None else bias
    pairs = (*conv.stride, *conv.padding, *conv.dilation)
    return (input, weight, offset, mask, bias, *pairs, conv.groups, conv.deform_groups, use_mask)


class _Samples:
    """The sampling locations of a convolution: P = H_out * W_out output positions by K places by D deform groups."""

    def __init__(
        self,
        input: Tensor,
        offset: Tensor,
        weight: Tensor,
        mask: Tensor | None,
        conv: DeformConv,
        size: tuple[int, int],
    ) -> None:
        self.batch, self.channels, self.height, self.width = input.shape
        self.conv = conv
        self.places = weight.size(2) * weight.size(3)
        self.input, self.weight = input, weight
        divided = (conv.deform_groups, self.places)
        self.offset = offset.flatten(2).unflatten(1, (*divided, 2))  # (N, D, K, 2, P)
        self.mask = None if mask is None else mask.flatten(2).unflatten(1, (*divided, 1))  # (N, D, K, 1, P)
        grids = []
        for length, kernel, stride, pad, dilation in zip(
            size, weight.shape[2:], conv.stride, conv.padding, conv.dilation, strict=True
        ):
            first = torch.arange(length, device=offset.device) * stride - pad
            grids.append(torch.arange(kernel, device=offset.device)[:, None] * dilation + first)  # (kernel, length)
        y, x = grids
        shape = (len(y), len(x), *size)
        y, x = y[:, None, :, None].expand(shape), x[None, :, None, :].expand(shape)
        self.grid = torch.stack([y, x], 2).reshape(self.places, 2, -1).to(offset.dtype)  # (K, 2, P)

    def inside(self) -> Tensor:
        """Return ``(N, D, K, 1, P)`` bool: whether a sample may touch the map."""
        position = self.grid + self.offset
        limit = position.new_tensor([[self.height], [self.width]])
        return ((position > -1) & (position < limit)).all(-2, keepdim=True)

    def chunks(self) -> Iterator[_Chunk]:
        """Yield parts of the work: some images, or some output positions of one."""
        positions = self.grid.size(2)
        per_position = self.places * self.channels
        images = max(MAX_ELEMENTS // (per_position * positions), 1)
        step = max(min(MAX_ELEMENTS // per_position, positions), 1)
        for first in range(0, self.batch, images):
            for start in range(0, positions, step):
                yield _Chunk(self, slice(first, first + images), slice(start, start + step))

    def gradients(self, grad_output: Tensor, wanted: list[str]) -> dict[str, Tensor]:
        """Return gradients by name for that of the output ``(N, C_out, P)``."""
        grads = {name: torch.zeros_like(getattr(self, name)) for name in wanted}
        for chunk in self.chunks():
            leaves = dict(zip(DeformConvGradients._fields, chunk.leaves(), strict=True))
            with torch.enable_grad():
                for name in wanted:
                    leaves[name].requires_grad_()
                output = chunk.output(*leaves.values())
            grad = grad_output[chunk.images, :, chunk.positions]
            for name, each in zip(
                wanted, torch.autograd.grad(output, [leaves[name] for name in wanted], grad), strict=True
            ):
                if name == 'input':
                    grads[name][chunk.images] += each.movedim(-1, 1)
                elif name == 'weight':
                    grads[name] += each
                else:
                    grads[name][chunk.images, ..., chunk.positions] = each
        return grads


class _Chunk(NamedTuple):
    samples: _Samples
    images: slice
    positions: slice

    def leaves(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return input ``(n, H, W, C)``, offset ``(n, D, K, 2, p)``, weight, mask ``(n, D, K, 1, p)`` of the chunk."""
        of = self.samples
        cells = of.input[self.images].movedim(1, -1).contiguous()
        offset = of.offset[self.images, ..., self.positions]
        mask = None if of.mask is None else of.mask[self.images, ..., self.positions]
        return tuple(None if each is None else each.detach() for each in (cells, offset, of.weight, mask))

    def output(self, cells: Tensor, offset: Tensor, weight: Tensor, mask: Tensor | None) -> Tensor:
        """Return ``(n, C_out, p)``, differentiable in all four."""
        of, groups, deform_groups = self.samples, self.samples.conv.groups, self.samples.conv.deform_groups
        images, positions = len(cells), offset.size(-1)
        # (n, p, K, D, 2), in the order of the columns
        position = (of.grid[..., self.positions] + offset).permute(0, 4, 2, 1, 3).contiguous()
        size = position.new_tensor([of.height, of.width])
        inside = ((position > -1) & (position < size)).all(-1, keepdim=True)
        # Samples outside are moved onto the map: no position is too large for an integer, no gradient is NaN.
        position = torch.where(inside, position, 0.0)
        low = position.detach().floor()
        share = position - low
        # (..., 2 axes, 2 cells): weights and indices of the cell at or below the position and of the one above it;
        # cells off the map have weight 0 and are moved onto it.
        pair = torch.stack([(1 - share) * (low >= 0), share * (low < size - 1)], -1)
        cell = torch.stack([low.clamp(min=0), torch.minimum(low + 1, size - 1)], -1).long()
        weights = pair[..., 0, :, None] * pair[..., 1, None, :] * inside[..., None]
        if mask is not None:
            weights = weights * mask.permute(0, 4, 2, 1, 3)[..., None]
        image = torch.arange(images, device=cells.device).view(-1, 1, 1, 1, 1, 1)
        group = torch.arange(deform_groups, device=cells.device).view(-1, 1, 1)
        rows = (image * of.height + cell[..., 0, :, None]) * of.width + cell[..., 1, None, :]
        rows, weights = (rows * deform_groups + group).view(-1, 4), weights.view(-1, 4)
        table = cells.reshape(-1, of.channels // deform_groups)
        columns = F.embedding_bag(rows, table, mode='sum', per_sample_weights=weights)  # (n * p * K * D, C / D)
        columns = columns.view(images * positions, of.places, groups, -1).permute(2, 0, 1, 3).flatten(2)
        kernel = weight.unflatten(0, (groups, -1)).flatten(3).permute(0, 3, 2, 1).flatten(1, 2)
        return (columns @ kernel).view(groups, images, positions, -1).permute(1, 0, 3, 2).flatten(1, 2)
