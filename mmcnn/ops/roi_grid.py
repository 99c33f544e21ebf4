"""The sampling grid of RoIAlign: the cells that each RoI covers along both axes, and the weights of its samples."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

# Number of elements of the largest intermediate tensor of a chunk of RoIs: 16 MB in float32 on a CPU, where more was
# slower; 512 MB elsewhere, where a chunk costs about fifty kernels whatever its size.
MAX_ELEMENTS, MAX_ELEMENTS_ELSEWHERE = 1 << 22, 1 << 27
# Devices that group the RoIs of a chunk by one power of two; elsewhere all RoIs up to this many cells share a chunk.
FINE = ('cpu',)
SMALL = 32


def usable(rois: Tensor, batch: int) -> Tensor:
    """Return ``(K,)`` bool: which RoIs ``(K, 5)`` are finite and belong to an image of a batch of this size."""
    return rois.isfinite().all(1) & (rois[:, 0] >= 0) & (rois[:, 0] < batch)


def check(rois: Tensor, batch: int) -> None:
    """Check RoIs ``(K, 5)``; the host waits for the device.

    Raises:
        ValueError: one of them is not :func:`usable`.
    """
    good = usable(rois, batch)
    if not good.all():
        row = int(good.logical_not().nonzero()[0])
        raise ValueError(
            f'RoI {row} is {rois[row].tolist()}; it must be finite and its first number an image of the batch of '
            f'{batch}'
        )


class Axis(NamedTuple):
    """The samples of K RoIs along one axis, in feature cells."""

    length: int  # cells of the map
    bins: int
    start: Tensor  # (K,) first edge of the RoI
    bin_size: Tensor  # (K,)
    samples: Tensor  # (K,) int64: samples per bin
    first: Tensor  # (K,) int64: first cell that a sample may touch
    span: Tensor  # (K,) int64: number of cells from there that samples may touch
    max_samples: int = 0  # of a chunk: the most samples and the longest span, known to the host without waiting
    max_span: int = 0

    @classmethod
    def of(cls, start: Tensor, end: Tensor, length: int, bins: int, sampling_ratio: int, aligned: bool) -> 'Axis':
        """Compute the sampling grid of an axis from the RoIs' start and end, (K,) in cells."""
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

    def select(self, index: Tensor, max_samples: int, max_span: int) -> 'Axis':
        """Return the same grid for some of the RoIs."""
        chosen = {name: value[index] for name, value in self._asdict().items() if torch.is_tensor(value)}
        return self._replace(max_samples=max_samples, max_span=max_span, **chosen)

    def cells(self) -> Tensor:
        """Return ``(K, S)``: the cells of each patch, S the longest span; cells past the map repeat its last one."""
        cells = self.first[:, None] + torch.arange(self.max_span, device=self.first.device)
        return cells.clamp(max=self.length - 1)

    def positions(self) -> tuple[Tensor, Tensor]:
        """Return positions of the samples ``(K, bins, M)`` and which exist ``(K, 1, M)``, M the most samples."""
        number = torch.arange(self.max_samples, device=self.start.device)
        bin_start = self.start[:, None] + torch.arange(self.bins, device=self.start.device) * self.bin_size[:, None]
        # Samples at the outer edge of the map depend on the last bit, so the order of operations is mmcv's.
        within = (number + 0.5) * self.bin_size[:, None] / self.samples[:, None].clamp(min=1)
        return bin_start[:, :, None] + within[:, None], (number < self.samples[:, None])[:, None]

    def bin_weights(self) -> Tensor:
        """Return ``(K, bins, S)``: weight of each cell of the patch in the mean over the samples of each bin."""
        positions, exists = self.positions()
        share = exists / self.samples[:, None, None].clamp(min=1).to(positions.dtype)
        return self._scatter(positions, share.expand_as(positions))

    def sample_weights(self) -> Tensor:
        """Return ``(K, bins * M, S)``: weight of each cell of the patch in each sample."""
        positions = self.positions()[0].flatten(1)[:, :, None]
        return self._scatter(positions, torch.ones_like(positions))

    def _scatter(self, positions: Tensor, share: Tensor) -> Tensor:
        low, high, fraction, inside = neighbours(positions, self.length)
        share = share * inside
        weights = positions.new_zeros(*positions.shape[:2], self.max_span)
        for cell, weight in ((low, 1 - fraction), (high, fraction)):
            # Samples off the map may be off the patch; their weight is 0.
            column = (cell - self.first[:, None, None]).clamp(0, weights.size(2) - 1)
            weights.scatter_add_(2, column, weight * share)
        return weights


class Grid(NamedTuple):
    """The samples of K RoIs along both axes."""

    batch: Tensor  # (K,) int64
    y: Axis
    x: Axis

    @classmethod
    def of(
        cls,
        rois: Tensor,
        input_shape: tuple[int, ...],
        output_size: tuple[int, ...],
        spatial_scale: float,
        sampling_ratio: int,
        aligned: bool,
    ) -> 'Grid':
        """Compute the sampling grid of RoIs (K, 5); arguments as in RoIAlign."""
        check(rois, input_shape[0])
        x1, y1, x2, y2 = (rois[:, 1:] * spatial_scale - (0.5 if aligned else 0.0)).unbind(1)
        y = Axis.of(y1, y2, input_shape[2], output_size[0], sampling_ratio, aligned)
        x = Axis.of(x1, x2, input_shape[3], output_size[1], sampling_ratio, aligned)
        return cls(rois[:, 0].long(), y, x)

    def chunks(self, channels: int, pool_mode: str) -> Iterator[tuple[Tensor, 'Grid']]:
        """Yield indices of RoIs of similar size, and their samples; the work on one chunk fits in ``MAX_ELEMENTS``."""
        device = self.batch.device
        most = MAX_ELEMENTS if device.type in FINE else MAX_ELEMENTS_ELSEWHERE
        sizes = torch.stack([self.y.span, self.x.span, self.y.samples, self.x.samples], 1).cpu()
        # Patches are padded to the largest of a chunk: RoIs are grouped by powers of two, else padding dominates.
        grouped = sizes if device.type in FINE else sizes.clamp(min=SMALL)
        groups, group_of = torch.unique(grouped.double().log2().ceil(), dim=0, return_inverse=True)
        for group in range(len(groups)):
            index = (group_of == group).nonzero().flatten()
            span_y, span_x, samples_y, samples_x = sizes[index].amax(0).tolist()
            rows, columns = self.y.bins * max(samples_y, 1), self.x.bins * max(samples_x, 1)
            if pool_mode == 'avg':
                values = max(span_y, self.y.bins) * max(span_x, self.x.bins) * channels
            else:
                values = max(span_y, rows) * max(span_x, columns) * channels
            for part in index.split(max(most // max(values, rows, columns, 1), 1)):
                span_y, span_x, samples_y, samples_x = sizes[part].amax(0).tolist()
                part = part.to(device, non_blocking=True)
                axes = self.y.select(part, samples_y, span_y), self.x.select(part, samples_x, span_x)
                yield part, Grid(self.batch[part], *axes)

    def cells(self) -> Tensor:
        """Return ``(K, S_y, S_x)`` int64: the patch of each RoI as rows of the features as ``(N * H * W, C)``."""
        return self.rows(self.batch[:, None, None], self.y.cells()[:, :, None], self.x.cells()[:, None, :])

    def rows(self, batch: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """Return the rows of cells in the flattened maps (N * H * W, C)."""
        return (batch * self.y.length + y) * self.x.length + x


def neighbours(position: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the cells left and right of a position, the weight of the right one, and whether the position counts.

    Up to one cell before the first and after the last cell centre, a position has the value at the border.
    """
    inside = (position >= -1) & (position <= length)
    position = position.clamp(0, length - 1)
    low = position.floor()
    return low.long(), (low + 1).clamp(max=length - 1).long(), position - low, inside
