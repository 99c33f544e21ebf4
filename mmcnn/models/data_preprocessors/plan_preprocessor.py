"""Rendering of the mosaics of a whole batch on the device."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmcnn.datasets.mosaic.render import COLUMNS
from mmcnn.registry import MODELS

from .image_preprocessor import DetDataPreprocessor
from .transfer import sent

_HUES = 180  # a unit of OpenCV's 8-bit hue is two degrees


@MODELS.register_module()
class PlanPreprocessor(DetDataPreprocessor):
    """A :class:`DetDataPreprocessor` that also accepts mosaics that have not been rendered yet.

    Batches of images are processed as usual. Batches packed by a :class:`~mmcnn.datasets.MosaicDataset` with
    ``device_augmentation`` are rendered first, in one pass per batch, on the device of the model. Compared with
    rendering in the data set, pixels differ by the rounding of the interpolation; boxes do not differ. The arguments
    are those of ``DetDataPreprocessor``.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """Turn a batch of a data loader, ``inputs`` and ``data_samples``, into normalised images (N, 3, H, W)."""
        if isinstance(data['inputs'], dict):
            size = data['data_samples'][0].img_shape
            data = dict(data, inputs=draw_batch(self.cast_data(data['inputs']), size))
        return super().forward(data, training)


@torch.no_grad()
def draw_batch(packed: dict[str, list[Tensor]], size: tuple[int, int]) -> Tensor:
    """Render the plans of a batch.

    Args:
        packed: lists with one entry per sample, from :func:`~mmcnn.datasets.mosaic.render.pack`.
        size: (H, W) of the images.

    Returns:
        (N, 3, H, W) float32 BGR, whole numbers from 0 to 255.
    """
    pictures = packed['tiles']
    # If every sample has one picture, as without MixUp, these are 0, 1, 2 ...
    samples = torch.arange(len(pictures)).repeat_interleave(torch.tensor([len(each) for each in pictures]))
    samples = sent(samples, pictures[0].device)
    # A tile of zeros is invisible.
    tiles = pad_sequence([rows for each in pictures for rows in each], batch_first=True)
    with torch.autocast(tiles.device.type, enabled=False):
        positions, seen, fills = _positions(tiles, size)
        images = torch.where(seen[:, None], _sample(_atlases(packed['atlas']), samples, positions), fills)
        weights = tiles[:, 0, COLUMNS['weight'], None, None]
        drawn = images.new_zeros(len(pictures), 3, *size).index_add_(0, samples, images * weights).round_()
        colours = torch.stack(packed['colours'])
        return map_hsv(drawn, colours) if colours.numel() else drawn


def _positions(tiles: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return, for each output pixel, the position in its atlas from which it is read.

    Args:
        tiles: (P, T, columns), tiles of P pictures.
        size: (H, W).

    Returns:
        Positions (P, H, W, 2) in continuous pixels; which of them are valid, (P, H, W) bool; the colour of the other
        pixels, (P, 3, H, W).
    """
    height, width = size
    x = torch.arange(width, device=tiles.device) + 0.5
    y = (torch.arange(height, device=tiles.device) + 0.5)[:, None]
    positions = tiles.new_zeros(len(tiles), height, width, 2)
    seen = torch.zeros(positions.shape[:3], dtype=torch.bool, device=tiles.device)
    fills = tiles.new_zeros(len(tiles), 3, height, width)
    for rows in tiles.unbind(1):
        column = {name: rows[:, part, None, None] for name, part in COLUMNS.items()}
        left, top, right, bottom = column['window'].unbind(1)
        inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
        fills = torch.where(inside[:, None], column['fill'], fills)
        seen &= ~inside  # later tiles and their windows cover earlier ones
        a, b, c, d, e, f = column['to_atlas'].unbind(1)
        u, v = a * x + b * y + c, d * x + e * y + f
        left, top, right, bottom = column['region'].unbind(1)
        inside = (u >= left) & (u < right) & (v >= top) & (v < bottom)
        # At half a pixel from the edge of a part, all four taps are inside it: tiles do not bleed into each other.
        left, top, right, bottom = column['taps'].unbind(1)
        u, v = u.clamp(left + 0.5, right - 0.5), v.clamp(top + 0.5, bottom - 0.5)
        positions = torch.where(inside[..., None], torch.stack([u, v], dim=-1), positions)
        seen |= inside
    return positions, seen, fills


def _atlases(atlases: list[Tensor]) -> Tensor:
    """Stack atlases (h, w, 3) of several sizes into one tensor (N, 3, H, W) uint8, padded with zeros."""
    height, width = (max(atlas.shape[i] for atlas in atlases) for i in (0, 1))
    together = atlases[0].new_zeros(len(atlases), 3, height, width)
    for target, atlas in zip(together, atlases, strict=True):
        target[:, : atlas.shape[0], : atlas.shape[1]] = atlas.permute(2, 0, 1)
    return together


def _sample(atlases: Tensor, samples: Tensor, positions: Tensor) -> Tensor:
    """Sample bilinear values (P, 3, H, W), rounded to whole numbers."""
    height, width = atlases.shape[2:]
    size = sent(torch.tensor([width, height], dtype=positions.dtype), positions.device)
    grid = positions * (2 / size) - 1
    return F.grid_sample(atlases[samples].float(), grid, padding_mode='border', align_corners=False).round_()


def map_hsv(images: Tensor, tables: Tensor) -> Tensor:
    """Map hue, saturation and value through tables, with the roundings of OpenCV's 8-bit HSV.

    Args:
        images: (N, 3, H, W) float32 BGR, whole numbers.
        tables: (N, 3, 256) uint8.
    """
    blue, green, red = images.unbind(1)
    value = images.amax(1)
    spread = value - images.amin(1)
    divisor = spread.clamp(min=1)
    # Sixths of the circle; if two channels are largest, red is checked before green.
    sixth = torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4)
    sixth = torch.where(value == red, (green - blue) / divisor, sixth)
    hue = (sixth * (_HUES / 6) + 0.5).floor()
    hue = torch.where(hue < 0, hue + _HUES, hue)
    saturation = (spread * 255 / value.clamp(min=1) + 0.5).floor()
    levels = torch.stack([hue, saturation, value], dim=1).long().flatten(2)
    hue, saturation, value = tables.gather(2, levels).view_as(images).float().unbind(1)

    sixth = hue * (6 / _HUES)
    saturation = saturation / 255
    channels = []
    # Each channel falls off from its full value on the opposite side of the hue circle.
    for full in (4.0, 2.0, 0.0):
        distance = ((sixth - full + 3).remainder(6) - 3).abs()
        channels.append(value * (1 - saturation * (distance - 1).clamp(0, 1)))
    return torch.stack(channels, dim=1).floor_()  # as in OpenCV's vector code
