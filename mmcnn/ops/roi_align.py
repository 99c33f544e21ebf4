"""RoIAlign and its gradient in plain PyTorch (He et al. 2017, arXiv 1703.06870, section 3).

The samples of a RoI lie on a grid, so bilinear interpolation is separable: one small matrix per axis interpolates
the rows and the columns of the patch that the RoI covers. For average pooling the samples of a bin are summed in the
matrices, so any number of samples costs the same; the gradient is the transposed product.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mmcnn.ops.nms import torchvision_op
from mmcnn.ops.roi_grid import MAX_ELEMENTS, Grid, check, neighbours, usable

__all__ = ['EMPTY_MAXIMUM', 'MAX_ELEMENTS', 'roi_align_backward', 'roi_align_forward']

# What a bin without samples holds after max pooling (a RoI without extent), as in mmcv's operator.
EMPTY_MAXIMUM = -10000.0


def roi_align_forward(
    features: Tensor,
    rois: Tensor,
    output_size: tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    pool_mode: str = 'avg',
    aligned: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Pool each RoI into a grid of bins, with bilinear samples; the semantics of mmcv's operator.

    Average pooling uses torchvision's operator if it can be loaded. Features of half precision are pooled in float32,
    and the result has their type; RoIs stay in float32, since in float16 a coordinate of 800 px is off by up to a
    quarter of a pixel, and in bfloat16 by up to 2.

    Args:
        features: ``(N, C, H, W)``, float16, bfloat16, float32 or float64 on any device.
        rois: ``(K, 5)``: index into the batch, then x1, y1, x2, y2 in pixels of the input image; of any floating type.
        output_size: Number of bins (P_h, P_w).
        spatial_scale: Feature cells per image pixel, such as 1/16.
        sampling_ratio: Samples per bin and axis; 0: adaptive, ``ceil(roi size / bins)``.
        pool_mode: ``'avg'`` or ``'max'`` of the samples of a bin.
        aligned: Shift by half a cell, so that pixel centres lie at .5. Without, RoIs are at least one cell wide and
            high.

    Returns:
        The pooled features ``(K, C, P_h, P_w)`` and, for ``'max'``, the y and x of the largest sample of each bin in
        feature cells (-1: none), both ``(K, C, P_h, P_w)``; for ``'avg'`` these two are empty.

    Raises:
        ValueError: wrong shapes, an unknown mode, a RoI with a coordinate that is not finite or with an image index
            outside the batch. torchvision's operator on a GPU returns NaN for such a RoI instead: to raise an error,
            the host would have to wait for the device in every call.
    """
    _check_shapes(features.shape, rois, output_size, pool_mode)
    empty = features.new_empty(0)
    channels = features.size(1)
    dtype = torch.promote_types(features.dtype, torch.float32)
    if pool_mode == 'avg' and (op := _torchvision_op('roi_align', features)):
        rois, good = _readable(rois.to(dtype), features.size(0))
        pooled = op(features.to(dtype), rois, spatial_scale, *output_size, sampling_ratio, aligned)
        return pooled.masked_fill(~good[:, None, None, None], math.nan).to(features.dtype), empty, empty
    cells = features.to(dtype).movedim(1, -1).reshape(-1, channels)
    pooled = cells.new_empty(len(rois), *output_size, channels)
    peak_y, peak_x = (torch.empty_like(pooled), torch.empty_like(pooled)) if pool_mode == 'max' else (empty, empty)
    grid = Grid.of(rois.to(dtype), features.shape, output_size, spatial_scale, sampling_ratio, aligned)
    # Under autocast the products would be computed in half precision.
    with torch.autocast(features.device.type, enabled=False):
        for index, chunk in grid.chunks(channels, pool_mode):
            patch = cells[chunk.cells()]
            if pool_mode == 'avg':
                pooled[index] = _interpolate(chunk.y.bin_weights(), chunk.x.bin_weights(), patch)
            else:
                pooled[index], peak_y[index], peak_x[index] = _largest_sample(chunk, patch)
    return tuple(t.movedim(-1, 1).to(features.dtype) if t.dim() == 4 else t for t in (pooled, peak_y, peak_x))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    peak_y: Tensor,
    peak_x: Tensor,
    input_shape: tuple[int, int, int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    pool_mode: str = 'avg',
    aligned: bool = True,
) -> Tensor:
    """Compute the gradient of :func:`roi_align_forward` with respect to the features.

    Args:
        grad_output: ``(K, C, P_h, P_w)``.
        rois: ``(K, 5)``, see the forward pass.
        peak_y: returned by the forward pass: ``(K, C, P_h, P_w)`` for ``'max'``, ignored for ``'avg'``.
        peak_x: like ``peak_y``.
        input_shape: ``(N, C, H, W)`` of the features.
        spatial_scale: Feature cells per image pixel.
        sampling_ratio: Samples per bin and axis; 0: adaptive.
        pool_mode: ``'avg'`` or ``'max'``.
        aligned: Shift by half a cell.

    Returns:
        ``(N, C, H, W)``, in the type of ``grad_output``, summed in float32 or more; in a fixed order if
            ``torch.use_deterministic_algorithms`` is set, in which case torchvision's CUDA kernel, which has none, is
            not used.

    Raises:
        ValueError: see the forward pass.
    """
    output_size = tuple(grad_output.shape[2:])
    _check_shapes(input_shape, rois, output_size, pool_mode)
    batch, channels, height, width = input_shape
    dtype = torch.promote_types(grad_output.dtype, torch.float32)
    if pool_mode == 'avg' and (op := _torchvision_op('_roi_align_backward', grad_output)):
        rois, _ = _readable(rois.to(dtype), batch)
        settings = (spatial_scale, *output_size, *input_shape, sampling_ratio, aligned)
        return op(grad_output.to(dtype), rois, *settings).to(grad_output.dtype)
    grad_bins = grad_output.to(dtype).movedim(1, -1)
    grad_cells = grad_bins.new_zeros(batch * height * width, channels)
    grid = Grid.of(rois.to(dtype), input_shape, output_size, spatial_scale, sampling_ratio, aligned)
    with torch.autocast(grad_output.device.type, enabled=False):
        for index, chunk in grid.chunks(channels, pool_mode):
            if pool_mode == 'avg':
                weight_y, weight_x = chunk.y.bin_weights().mT, chunk.x.bin_weights().mT
                patch = _interpolate(weight_y, weight_x, grad_bins[index])
                grad_cells.index_add_(0, chunk.cells().flatten(), patch.flatten(0, 2))
            else:
                peaks = (peak.to(dtype).movedim(1, -1)[index] for peak in (peak_y, peak_x))
                _add_to_peaks(grad_cells, chunk, grad_bins[index], *peaks)
    return grad_cells.view(batch, height, width, channels).movedim(-1, 1).to(grad_output.dtype)


def _check_shapes(input_shape: tuple[int, ...], rois: Tensor, output_size: tuple[int, ...], pool_mode: str) -> None:
    if len(input_shape) != 4:
        raise ValueError(f'features must have shape (N, C, H, W), not {tuple(input_shape)}')
    if rois.dim() != 2 or rois.size(1) != 5:
        raise ValueError(f'rois must have shape (K, 5): batch index, x1, y1, x2, y2; not {tuple(rois.shape)}')
    if len(output_size) != 2 or min(output_size) < 1:
        raise ValueError(f'output_size must be two positive numbers of bins, not {tuple(output_size)}')
    if pool_mode not in ('avg', 'max'):
        raise ValueError(f"pool_mode must be 'avg' or 'max', not {pool_mode!r}")


def _readable(rois: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Return RoIs for which torchvision's operator reads only inside the features, and a mask of unchanged ones."""
    if rois.device.type == 'cpu':
        check(rois, batch)
    good = usable(rois, batch)
    return rois.masked_fill(~good[:, None], 0), good


def _torchvision_op(name: str, tensor: Tensor) -> Callable | None:
    # Its gradient on CUDA is a sum by atomic additions; our PyTorch operators have a deterministic form.
    if name == '_roi_align_backward' and tensor.device.type != 'cpu' and torch.are_deterministic_algorithms_enabled():
        return None
    return torchvision_op(name, tensor.device.type) if tensor.is_floating_point() else None


def _interpolate(weight_y: Tensor, weight_x: Tensor, patch: Tensor) -> Tensor:
    """Map ``(K, P, S_y)``, ``(K, Q, S_x)`` and ``(K, S_y, S_x, C)`` to ``(K, P, Q, C)``."""
    rows = torch.bmm(weight_y, patch.flatten(2)).view(*weight_y.shape[:2], *patch.shape[2:])
    return weight_x[:, None] @ rows


def _largest_sample(chunk: Grid, patch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the largest sample of each bin and its y and x, each ``(K, P, Q, C)``."""
    (y, y_exists), (x, x_exists) = chunk.y.positions(), chunk.x.positions()
    shape = (len(patch), *y.shape[1:], *x.shape[1:], patch.size(3))
    if 0 in shape:
        empty = patch.new_zeros(shape[0], shape[1], shape[3], shape[5])
        return empty + EMPTY_MAXIMUM, empty - 1, empty - 1
    values = _interpolate(chunk.y.sample_weights(), chunk.x.sample_weights(), patch).view(shape)
    values = values.permute(0, 1, 3, 5, 2, 4)
    exists = y_exists[:, :, None, None, :, None] & x_exists[:, None, :, None, None, :]
    largest, number = values.masked_fill(~exists, EMPTY_MAXIMUM).flatten(4).max(-1)
    none = largest <= EMPTY_MAXIMUM
    peaks = []
    for positions, along in ((y[:, :, None, None], number // shape[4]), (x[:, None, :, None], number % shape[4])):
        peak = positions.expand(*number.shape, -1).gather(-1, along[..., None])[..., 0]
        peaks.append(peak.masked_fill(none, -1))
    return largest.clamp(min=EMPTY_MAXIMUM), *peaks


def _add_to_peaks(grad_cells: Tensor, chunk: Grid, grad_bins: Tensor, peak_y: Tensor, peak_x: Tensor) -> None:
    """Add the gradient of each bin to the four cells around its largest sample; all ``(K, P, Q, C)``."""
    y_low, y_high, y_fraction, y_inside = neighbours(peak_y, chunk.y.length)
    x_low, x_high, x_fraction, x_inside = neighbours(peak_x, chunk.x.length)
    # -1 marks a bin without samples, and mmcv passes no gradient there.
    share = grad_bins * (y_inside & x_inside & (peak_y != -1) & (peak_x != -1))
    channel = torch.arange(grad_bins.size(-1), device=grad_bins.device)
    batch = chunk.batch[:, None, None, None]
    for y, y_weight in ((y_low, 1 - y_fraction), (y_high, y_fraction)):
        for x, x_weight in ((x_low, 1 - x_fraction), (x_high, x_fraction)):
            flat = chunk.rows(batch, y, x) * grad_bins.size(-1) + channel
            grad_cells.view(-1).index_add_(0, flat.flatten(), (share * y_weight * x_weight).flatten())
