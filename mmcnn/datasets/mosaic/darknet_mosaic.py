"""Jitter crop and mosaic as in Darknet's training of YOLOv4."""

from collections.abc import Sequence

import numpy as np

from mmcnn.datasets.mosaic.plan import Plan, Source, Tile, reduction_for
from mmcnn.datasets.mosaic.tiles import clip_boxes, transform_boxes
from mmcnn.registry import TRANSFORMS

_CUT_RANGE = (0.2, 0.8)


@TRANSFORMS.register_module()
class DarknetMosaic:
    """Darknet's jitter crop of each image and its mosaic of four, drawn directly onto the output.

    Jitter: each border of the image moves by U(-jitter, jitter) of the side, inwards or outwards; the area inside is
    stretched to the output size W x H without keeping the aspect ratio; areas outside of the image are filled.
    Mosaic: a cut point in [0.2, 0.8] of each side; four jittered images, each with a corner at the cut point and
    visible through its quadrant. With p = 1/2 for each image, filling at the cut is moved away, so that the image
    itself touches the cut point. Boxes are clipped to their jittered image and to the output; those below
    ``min_box_size`` are dropped.

    Source: AlexeyAB's Darknet, as run by yolov4.cfg (``mosaic=1``, ``mosaic_bound=0``).

    Differences from Darknet:

    - Whether to make a mosaic is drawn for each sample. Darknet draws it once for each call of a loader thread, so its
      batches have runs of mosaics and runs of plain images; the ratio is the same.
    - Flip and colour change are drawn for the whole output. Darknet draws them for each source image.
    - If an image touches the cut, the shift stops where the quadrant would exceed the jittered image's far edge.
    - Shifts are continuous; Darknet rounds them to source pixels.

    It is the first transform of a :class:`~mmcnn.datasets.MosaicDataset`. It plans; the data set reads and draws.
    Ignore flags stay with their boxes.

    Args:
        img_scale: Output size (w, h) in pixels.
        mosaic_prob: Probability of a mosaic.
        jitter: Largest shift of a border, as a fraction of the side, in [0, 0.5).
        min_box_size: Boxes shorter than this in either direction are dropped, in output pixels.
        flip_prob: Probability of a horizontal flip.
        pad_val: Grey value outside of the images; None fills with each image's mean colour, as in Darknet.

    Raises:
        ValueError: At construction, for a setting out of its range.
    """

    def __init__(
        self,
        img_scale: tuple[int, int] = (608, 608),
        mosaic_prob: float = 0.5,
        jitter: float = 0.3,
        min_box_size: float = 1.0,
        flip_prob: float = 0.0,
        pad_val: int | None = None,
    ) -> None:
        for name, probability in (('mosaic_prob', mosaic_prob), ('flip_prob', flip_prob)):
            if not 0 <= probability <= 1:
                raise ValueError(f'DarknetMosaic: {name} is {probability}; it must be in [0, 1]')
        if not 0 <= jitter < 0.5:
            raise ValueError(
                f'DarknetMosaic: jitter is {jitter}; it must be in [0, 0.5), otherwise the crop could vanish'
            )
        self.img_scale = tuple(img_scale)
        self.mosaic_prob = mosaic_prob
        self.jitter = jitter
        self.min_box_size = min_box_size
        self.flip_prob = flip_prob
        self.pad_val = pad_val

    def partners(self, num_images: int) -> list[int]:
        """Draw whether this sample is a mosaic, and the additional images that it needs: 0 or 3."""
        count = 3 if np.random.uniform() < self.mosaic_prob else 0
        return np.random.randint(num_images, size=count).tolist()

    def plan(self, sources: Sequence[Source]) -> Plan:
        """Draw how the images are mixed.

        Args:
            sources: The image and the additional ones; their number, 1 or 4, determines what to draw.

        Raises:
            ValueError: There is another number of images.
        """
        if len(sources) not in (1, 4):
            raise ValueError(f'DarknetMosaic mixes 1 or 4 images, not {len(sources)}')
        width, height = self.img_scale
        if len(sources) == 1:
            placed = [(sources[0], (0, 0, width, height))]
        else:
            x, y = (int(side * np.random.uniform(*_CUT_RANGE)) for side in (width, height))
            quadrants = (0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)
            placed = [(sources[index], each) for index, each in zip(np.random.permutation(4), quadrants, strict=True)]
        tiles, *annotations = zip(*(self._tile(source, window) for source, window in placed), strict=True)
        plan = Plan(self.img_scale, [list(tiles)], *(np.concatenate(each) for each in annotations))
        return plan.mirrored() if np.random.uniform() < self.flip_prob else plan

    def reduction(self, size: tuple[int, int]) -> int:
        """Return the factor by which an image of (width, height) pixels may be reduced when it is decoded."""
        # The smallest possible crop is enlarged most, so its resolution must not be lost.
        smallest = (1 - 2 * self.jitter) * min(size[0] / self.img_scale[0], size[1] / self.img_scale[1])
        return reduction_for(smallest)

    def _tile(
        self, source: Source, window: tuple[int, int, int, int]
    ) -> tuple[Tile, np.ndarray, np.ndarray, np.ndarray]:
        """Place one jittered image in ``window`` (xyxy, output pixels).

        Returns:
            The tile, and the remaining boxes (N, 4) in output pixels, labels (N,) and ignore flags (N,).
        """
        w, h = source.size
        crop = np.random.uniform(-self.jitter, self.jitter, size=4) * (w, h, w, h) + (0, 0, w, h)
        matrix = self._place(crop, (w, h), window, touch_cut=np.random.uniform() < 0.5)
        in_source = (np.reshape(window, (2, 2)) - matrix[:, 2]) / matrix[[0, 1], [0, 1]]
        region = tuple(clip_boxes(in_source.reshape(1, 4), (0, 0, w, h))[0].tolist())
        tile = Tile(source.index, source.size, matrix, region, self.reduction(source.size), window, self.pad_val)

        boxes = transform_boxes(clip_boxes(source.boxes, tuple(crop)), matrix)
        boxes = clip_boxes(boxes, (0, 0, *self.img_scale)).astype(np.float32)
        keep = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= self.min_box_size
        return tile, boxes[keep], source.labels[keep], source.ignore_flags[keep]

    def _place(
        self,
        crop: np.ndarray,
        source_size: tuple[int, int],
        window: tuple[int, int, int, int],
        touch_cut: bool,
    ) -> np.ndarray:
        """Return the (2, 3) matrix, source to output pixels, of a crop (xyxy, source pixels) seen through a window.

        The crop becomes W x H pixels with its corner at the window's inner corner, the cut point. A window of the whole
        output has no cut, so the crop fills it.
        """
        size = np.array(self.img_scale)
        low, high = np.reshape(window, (2, 2))
        before_cut = low == 0
        scale = size / (crop[2:] - crop[:2])
        corner = np.where(before_cut, high - size, low)
        if touch_cut:
            filling = np.maximum(np.where(before_cut, crop[2:] - source_size, -crop[:2]), 0) * scale
            shift = np.minimum(filling, size - (high - low))
            corner = corner + np.where(before_cut, shift, -shift)
        return np.column_stack([np.diag(scale), corner - crop[:2] * scale])
