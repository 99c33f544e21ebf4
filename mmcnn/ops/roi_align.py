"""RoIAlign and its gradient in plain PyTorch (He et al. 2017, arXiv 1703.06870, section 3).

The samples of a RoI lie on a grid, so bilinear interpolation is separable: one small matrix per axis interpolates
the rows and the columns of the patch that the RoI covers. For average pooling the samples of a bin are summed in the
matrices, so any number of samples costs the same; the gradient is the transposed product.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from mmcnn.ops.nms import torchvision_op

# Elements of the largest intermediate tensor of one chunk of RoIs (16 MB in float32); larger was slower on a CPU.
MAX_ELEMENTS = 1 << 22
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

    Average pooling uses torchvision's operator where it loads.

    Args:
        features: ``(N, C, H, W)``, float16, bfloat16, float32 or float64 on any device.
        rois: ``(K, 5)``: index into the batch, then x1, y1, x2, y2 in pixels of the input image.
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
        ValueError: For wrong shapes, an unknown mode, a RoI with a coordinate that is not finite or with an image
            index outside the batch.
    """
    _check(features.shape, rois, output_size, pool_mode)
    empty = features.new_empty(0)
    if pool_mode == 'avg' and (op := _torchvision_op('roi_align', features)):
        rois = rois.to(features.dtype)
        return op(features, rois, spatial_scale, *output_size, sampling_ratio, aligned), empty, empty
    channels = features.size(1)
    dtype = torch.promote_types(features.dtype, torch.float32)
    cells = features.to(dtype).movedim(1, -1).reshape(-1, channels)
    pooled = cells.new_empty(len(rois), *output_size, channels)
    peak_y, peak_x = (torch.empty_like(pooled), torch.empty_like(pooled)) if pool_mode == 'max' else (empty, empty)
    grid = _Grid.of(rois.to(dtype), features.shape, output_size, spatial_scale, sampling_ratio, aligned)
    # Under autocast the products would fall back to half precision.
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
    """Gradient of :func:`roi_align_forward` with respect to the features.

    Args:
        grad_output: ``(K, C, P_h, P_w)``.
        rois: ``(K, 5)``, as given to the forward pass, as all others.
        peak_y: What the forward pass returned: ``(K, C, P_h, P_w)`` for ``'max'``, ignored for ``'avg'``.
        peak_x: Likewise.
        input_shape: ``(N, C, H, W)`` of the features.
        spatial_scale: Feature cells per image pixel.
        sampling_ratio: Samples per bin and axis; 0: adaptive.
        pool_mode: ``'avg'`` or ``'max'``.
        aligned: Shift by half a cell.

    Returns:
        ``(N, C, H, W)``, in the type of ``grad_output``.

    Raises:
        ValueError: As the forward pass.
    """
    output_size = tuple(grad_output.shape[2:])
    _check(input_shape, rois, output_size, pool_mode)
    batch, channels, height, width = input_shape
    if pool_mode == 'avg' and (op := _torchvision_op('_roi_align_backward', grad_output)):
        rois = rois.to(grad_output.dtype)
        return op(grad_output, rois, spatial_scale, *output_size, *input_shape, sampling_ratio, aligned)
    dtype = torch.promote_types(grad_output.dtype, torch.float32)
    grad_bins = grad_output.to(dtype).movedim(1, -1)
    grad_cells = grad_bins.new_zeros(batch * height * width, channels)
    grid = _Grid.of(rois.to(dtype), input_shape, output_size, spatial_scale, sampling_ratio, aligned)
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


def _check(input_shape: tuple[int, ...], rois: Tensor, output_size: tuple[int, ...], pool_mode: str) -> None:
    if len(input_shape) != 4:
        raise ValueError(f'features must have shape (N, C, H, W), not {tuple(input_shape)}')
    if rois.dim() != 2 or rois.size(1) != 5:
        raise ValueError(f'rois must have shape (K, 5): batch index, x1, y1, x2, y2; not {tuple(rois.shape)}')
    if len(output_size) != 2 or min(output_size) < 1:
        raise ValueError(f'output_size must be two positive numbers of bins, not {tuple(output_size)}')
    if pool_mode not in ('avg', 'max'):
        raise ValueError(f"pool_mode must be 'avg' or 'max', not {pool_mode!r}")
    usable = rois.isfinite().all(1) & (rois[:, 0] >= 0) & (rois[:, 0] < input_shape[0])
    if not usable.all():
        row = int(usable.logical_not().nonzero()[0])
        raise ValueError(
            f'RoI {row} is {rois[row].tolist()}; it must be finite and its first number an image of the batch of '
            f'{input_shape[0]}'
        )


def _torchvision_op(name: str, tensor: Tensor) -> Callable | None:
    supported = tensor.dtype in (torch.float16, torch.float32, torch.float64)
    return torchvision_op(name, tensor.device.type) if supported else None


class _Axis(NamedTuple):
    """The samples of K RoIs along one axis, in feature cells."""

    length: int  # cells of the map
    bins: int
    start: Tensor  # (K,) first edge of the RoI
    bin_size: Tensor  # (K,)
    samples: Tensor  # (K,) int64: samples per bin
    first: Tensor  # (K,) int64: first cell that a sample may touch
    span: Tensor  # (K,) int64: number of cells from there that samples may touch

    @classmethod
    def of(cls, start: Tensor, end: Tensor, length: int, bins: int, sampling_ratio: int, aligned: bool) -> '_Axis':
        size = end - start
        if not aligned:
            size = size.clamp(min=1)
        samples = torch.full_like(size, sampling_ratio) if sampling_ratio > 0 else (size / bins).ceil()
        edges = torch.stack([start, start + size])
        # One cell of slack on both sides covers the right neighbour of a sample and any rounding.
        first = (edges.amin(0).floor() - 1).clamp(0, length - 1)
        last = (edges.amax(0).floor() + 2).clamp(0, length - 1)
        counts = (samples.clamp(min=0), first, last - first + 1)
        return cls(length, bins, start, size / bins, *(count.long() for count in counts))

    def select(self, index: Tensor) -> '_Axis':
        return self._replace(**{name: value[index] for name, value in self._asdict().items() if torch.is_tensor(value)})

    def cells(self) -> Tensor:
        """``(K, S)`` the cells of each patch, S the longest span; cells past the map repeat its last one."""
        return (self.first[:, None] + torch.arange(int(self.span.max()), device=self.first.device)).clamp(
            max=self.length - 1
        )

    def positions(self) -> tuple[Tensor, Tensor]:
        """Positions of the samples ``(K, bins, M)`` and which of them exist ``(K, 1, M)``, M the most samples."""
        number = torch.arange(int(self.samples.max()), device=self.start.device)
        bin_start = self.start[:, None] + torch.arange(self.bins, device=self.start.device) * self.bin_size[:, None]
        # Samples at the outer edge of the map depend on the last bit, so the order of operations is mmcv's.
        within = (number + 0.5) * self.bin_size[:, None] / self.samples[:, None].clamp(min=1)
        return bin_start[:, :, None] + within[:, None], (number < self.samples[:, None])[:, None]

    def bin_weights(self) -> Tensor:
        """``(K, bins, S)``: weight of each cell of the patch in the mean over the samples of each bin."""
        positions, exists = self.positions()
        share = exists / self.samples[:, None, None].clamp(min=1).to(positions.dtype)
        return self._scatter(positions, share.expand_as(positions))

    def sample_weights(self) -> Tensor:
        """``(K, bins * M, S)``: weight of each cell of the patch in each sample."""
        positions = self.positions()[0].flatten(1)[:, :, None]
        return self._scatter(positions, torch.ones_like(positions))

    def _scatter(self, positions: Tensor, share: Tensor) -> Tensor:
        low, high, fraction, inside = _neighbours(positions, self.length)
        share = share * inside
        weights = positions.new_zeros(*positions.shape[:2], int(self.span.max()))
        for cell, weight in ((low, 1 - fraction), (high, fraction)):
            # Samples off the map may lie off the patch; their share is 0.
            column = (cell - self.first[:, None, None]).clamp(0, weights.size(2) - 1)
            weights.scatter_add_(2, column, weight * share)
        return weights


class _Grid(NamedTuple):
    """The samples of K RoIs along both axes."""

    batch: Tensor  # (K,) int64
    y: _Axis
    x: _Axis

    @classmethod
    def of(
        cls,
        rois: Tensor,
        input_shape: tuple[int, ...],
        output_size: tuple[int, ...],
        spatial_scale: float,
        sampling_ratio: int,
        aligned: bool,
    ) -> '_Grid':
        x1, y1, x2, y2 = (rois[:, 1:] * spatial_scale - (0.5 if aligned else 0.0)).unbind(1)
        y = _Axis.of(y1, y2, input_shape[2], output_size[0], sampling_ratio, aligned)
        x = _Axis.of(x1, x2, input_shape[3], output_size[1], sampling_ratio, aligned)
        return cls(rois[:, 0].long(), y, x)

    def chunks(self, channels: int, pool_mode: str) -> Iterator[tuple[Tensor, '_Grid']]:
        """Yield indices of RoIs of similar size, and their samples; the work on one chunk fits in ``MAX_ELEMENTS``."""
        sizes = torch.stack([self.y.span, self.x.span, self.y.samples, self.x.samples], 1).cpu()
        # Patches are padded to the largest of a chunk: RoIs are grouped by powers of two, else padding dominates.
        groups, group_of = torch.unique(sizes.double().log2().ceil(), dim=0, return_inverse=True)
        for group in range(len(groups)):
            index = (group_of == group).nonzero().flatten()
            span_y, span_x, samples_y, samples_x = sizes[index].amax(0).tolist()
            rows, columns = self.y.bins * max(samples_y, 1), self.x.bins * max(samples_x, 1)
            if pool_mode == 'avg':
                values = max(span_y, self.y.bins) * max(span_x, self.x.bins) * channels
            else:
                values = max(span_y, rows) * max(span_x, columns) * channels
            for part in index.split(max(MAX_ELEMENTS // max(values, rows, columns, 1), 1)):
                part = part.to(self.batch.device)
                yield part, _Grid(self.batch[part], self.y.select(part), self.x.select(part))

    def cells(self) -> Tensor:
        """``(K, S_y, S_x)`` int64: the patch of each RoI as rows of the features viewed as ``(N * H * W, C)``."""
        return self._rows(self.batch[:, None, None], self.y.cells()[:, :, None], self.x.cells()[:, None, :])

    def _rows(self, batch: Tensor, y: Tensor, x: Tensor) -> Tensor:
        return (batch * self.y.length + y) * self.x.length + x


def _neighbours(position: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cells left and right of a position, the share of the right one, and whether the position counts.

    Up to one cell before the first and after the last cell centre a position takes the value at the border.
    """
    inside = (position >= -1) & (position <= length)
    position = position.clamp(0, length - 1)
    low = position.floor()
    return low.long(), (low + 1).clamp(max=length - 1).long(), position - low, inside


def _interpolate(weight_y: Tensor, weight_x: Tensor, patch: Tensor) -> Tensor:
    """``(K, P, S_y)``, ``(K, Q, S_x)`` and ``(K, S_y, S_x, C)`` to ``(K, P, Q, C)``."""
    rows = torch.bmm(weight_y, patch.flatten(2)).view(*weight_y.shape[:2], *patch.shape[2:])
    return weight_x[:, None] @ rows


def _largest_sample(chunk: _Grid, patch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Largest sample of each bin and its y and x, each ``(K, P, Q, C)``."""
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


def _add_to_peaks(grad_cells: Tensor, chunk: _Grid, grad_bins: Tensor, peak_y: Tensor, peak_x: Tensor) -> None:
    """Add the gradient of each bin to the four cells around its largest sample; all ``(K, P, Q, C)``."""
    y_low, y_high, y_fraction, y_inside = _neighbours(peak_y, chunk.y.length)
    x_low, x_high, x_fraction, x_inside = _neighbours(peak_x, chunk.x.length)
    # -1 marks a bin without samples, and mmcv passes no gradient there.
    share = grad_bins * (y_inside & x_inside & (peak_y != -1) & (peak_x != -1))
    channel = torch.arange(grad_bins.size(-1), device=grad_bins.device)
    batch = chunk.batch[:, None, None, None]
    for y, y_weight in ((y_low, 1 - y_fraction), (y_high, y_fraction)):
        for x, x_weight in ((x_low, 1 - x_fraction), (x_high, x_fraction)):
            flat = chunk._rows(batch, y, x) * grad_bins.size(-1) + channel
            grad_cells.view(-1).index_add_(0, flat.flatten(), (share * y_weight * x_weight).flatten())
