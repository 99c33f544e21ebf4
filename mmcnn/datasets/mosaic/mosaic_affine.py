"""Mosaic, random affine and MixUp in one pass, as in YOLOv5's training."""

import math
from collections.abc import Sequence

import numpy as np

from mmcnn.datasets.mosaic.plan import Plan, Source, Tile, reduction_for
from mmcnn.datasets.mosaic.tiles import clip_boxes, compose, placement, transform_boxes
from mmcnn.registry import TRANSFORMS

_EXTRA_FOR_MOSAIC = 3
_EXTRA_FOR_MIXUP = 7  # the rest of the first mosaic and all of a second one


@TRANSFORMS.register_module()
class MosaicAffine:
    """Mosaic of four images, centred random affine and MixUp of two mosaics, drawn directly onto the output.

    The recipe is that of YOLOv5 v6.1 (W x H stands for ``img_scale``):

    1. Mosaic: on a 2W x 2H canvas with its centre drawn from U(W/2, 3W/2) x U(H/2, 3H/2), four images in random order,
       each resized to fit W x H with its aspect ratio kept, with one corner at the centre, and cropped by the canvas.
       Without mosaic: one image resized in the same way, centred on a W x H canvas.
    2. Affine: translation . shear . rotation and scale . (canvas centre to the origin); the canvas centre is moved to
       U(0.5 - t, 0.5 + t) of the output in each axis.
    3. Boxes are clipped to the output and kept if they are longer than ``min_box_size`` in both directions, keep more
       than ``min_area_ratio`` of their area on the canvas (times scale squared) and are less elongated than
       ``max_aspect_ratio``.
    4. MixUp: ``r * a + (1 - r) * b`` of two such mosaics, r ~ Beta(32, 32), with all annotations. Only mosaics are
       mixed.

    The reference builds the canvas and warps it; here each image's resize, placement and affine are one matrix and one
    interpolation. Boxes are the same; pixels differ only by interpolation, and by the half pixel that the reference
    ignores between box coordinates and OpenCV's pixel centres. Without rotation and shear, the random shift is
    rounded so that the images' corners are at corners of pixels, which halves the drawing time.

    It is the first transform of a :class:`~mmcnn.datasets.MosaicDataset`. It plans; the data set reads and draws.
    Ignore flags stay with their boxes. A flip of the whole output is part of the matrices.

    Args:
        img_scale: Output size (w, h) in pixels.
        mosaic_prob: Probability of a mosaic.
        mixup_prob: Probability that a mosaic is mixed with a second one.
        scale: Range of the affine's scale.
        translate: Largest shift of the canvas centre, as a fraction of the output.
        max_rotate_degree: Largest rotation, either way, in degrees.
        max_shear_degree: Largest shear of each axis, either way, in degrees.
        flip_prob: Probability of a horizontal flip.
        pad_val: Grey value where no image is.
        min_box_size: Boxes must be longer than this in both directions, in output pixels.
        min_area_ratio: Boxes must keep more than this fraction of their scaled area.
        max_aspect_ratio: Boxes must have a smaller ratio of the longer to the shorter side.

    Raises:
        ValueError: At construction, for a setting out of its range.
    """

    def __init__(
        self,
        img_scale: tuple[int, int] = (640, 640),
        mosaic_prob: float = 1.0,
        mixup_prob: float = 0.0,
        scale: tuple[float, float] = (0.5, 1.5),
        translate: float = 0.1,
        max_rotate_degree: float = 0.0,
        max_shear_degree: float = 0.0,
        flip_prob: float = 0.0,
        pad_val: int = 114,
        min_box_size: float = 2.0,
        min_area_ratio: float = 0.1,
        max_aspect_ratio: float = 100.0,
    ) -> None:
        probabilities = {'mosaic_prob': mosaic_prob, 'mixup_prob': mixup_prob, 'flip_prob': flip_prob}
        for name, probability in probabilities.items():
            if not 0 <= probability <= 1:
                raise ValueError(f'MosaicAffine: {name} is {probability}; it must be in [0, 1]')
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f'MosaicAffine: scale is {scale}; it must be (low, high) with 0 < low <= high')
        if not 0 <= max_shear_degree < 90:
            raise ValueError(f'MosaicAffine: max_shear_degree is {max_shear_degree}; it must be in [0, 90)')
        self.img_scale = tuple(img_scale)
        self.mosaic_prob = mosaic_prob
        self.mixup_prob = mixup_prob
        self.scale = scale
        self.translate = translate
        self.max_rotate_degree = max_rotate_degree
        self.max_shear_degree = max_shear_degree
        self.flip_prob = flip_prob
        self.pad_val = pad_val
        self.min_box_size = min_box_size
        self.min_area_ratio = min_area_ratio
        self.max_aspect_ratio = max_aspect_ratio

    def partners(self, num_images: int) -> list[int]:
        """Draw whether this sample is a mosaic, and mixed, and the additional images that it needs: 0, 3 or 7."""
        if np.random.random_sample() >= self.mosaic_prob:
            count = 0
        elif np.random.random_sample() >= self.mixup_prob:
            count = _EXTRA_FOR_MOSAIC
        else:
            count = _EXTRA_FOR_MIXUP
        return np.random.randint(num_images, size=count).tolist()

    def plan(self, sources: Sequence[Source]) -> Plan:
        """Draw how the images are mixed.

        Args:
            sources: The image and the additional ones; their number, 1, 4 or 8, determines what to draw.

        Raises:
            ValueError: There is another number of images.
        """
        if len(sources) not in (1, 1 + _EXTRA_FOR_MOSAIC, 1 + _EXTRA_FOR_MIXUP):
            raise ValueError(f'MosaicAffine mixes 1, 4 or 8 images, not {len(sources)}')
        plan = self._single(sources[0]) if len(sources) == 1 else self._mosaic(sources[:4])
        if len(sources) > 4:
            second = self._mosaic(sources[4:])
            plan = Plan(
                self.img_scale,
                plan.pictures + second.pictures,
                *(
                    np.concatenate([getattr(each, name) for each in (plan, second)])
                    for name in ('boxes', 'labels', 'ignore_flags')
                ),
                ratio=np.random.beta(32.0, 32.0),
            )
        return plan.mirrored() if np.random.random_sample() < self.flip_prob else plan

    def _mosaic(self, sources: Sequence[Source]) -> Plan:
        width, height = self.img_scale
        centre_x, centre_y = (
            int(side * (0.5 + share)) for side, share in zip(self.img_scale, np.random.random_sample(2), strict=True)
        )
        placed = []
        for quadrant, index in enumerate(np.random.permutation(4).tolist()):
            w, h = self._fitted_size(sources[index].size)
            x = centre_x - w if quadrant in (0, 2) else centre_x
            y = centre_y - h if quadrant in (0, 1) else centre_y
            placed.append((sources[index], (x, y, x + w, y + h)))
        return self._place(placed, (2 * width, 2 * height), (centre_x, centre_y))

    def reduction(self, size: tuple[int, int]) -> int:
        """Return the factor by which an image of (width, height) pixels may be reduced when it is decoded."""
        return reduction_for(1 / self._fit(size))

    def _single(self, source: Source) -> Plan:
        width, height = self.img_scale
        w, h = self._fitted_size(source.size)
        x, y = (width - w) // 2, (height - h) // 2
        return self._place([(source, (x, y, x + w, y + h))], (width, height), (x, y))

    def _fit(self, size: tuple[int, int]) -> float:
        return min(self.img_scale[0] / size[0], self.img_scale[1] / size[1])

    def _fitted_size(self, size: tuple[int, int]) -> tuple[int, int]:
        ratio = self._fit(size)
        return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))

    def _place(
        self,
        placed: list[tuple[Source, tuple[int, int, int, int]]],
        canvas_size: tuple[int, int],
        corner: tuple[int, int],
    ) -> Plan:
        """Place images, each filling a rectangle of the (virtual) canvas, on the output by one random affine.

        ``corner`` is the point of the canvas where the images have their corners.
        """
        affine, scale = self._random_affine(canvas_size)
        if affine[0, 1] == affine[1, 0] == 0:
            point = affine[:, :2] @ corner + affine[:, 2]
            affine[:, 2] += np.rint(point) - point
        tiles, tables = [], []
        for source, (x1, y1, x2, y2) in placed:
            x, y = (x2 - x1) / source.size[0], (y2 - y1) / source.size[1]
            seen = max(x1, 0), max(y1, 0), min(x2, canvas_size[0]), min(y2, canvas_size[1])
            region = (seen[0] - x1) / x, (seen[1] - y1) / y, (seen[2] - x1) / x, (seen[3] - y1) / y
            tables.append(((x, y, x, y), (x1, y1, x1, y1), seen[:2] * 2, seen[2:] * 2))
            # The first tile fills the background for all others.
            ground = {} if tiles else dict(window=(0, 0, *self.img_scale), fill=self.pad_val)
            matrix = compose(affine, placement(source.size, (x1, y1, x2, y2)))
            tiles.append(Tile(source.index, source.size, matrix, region, self.reduction(source.size), **ground))
        # Boxes of all images at once: each has four factors, shifts, lower and upper limits.
        counts = [len(source.labels) for source, _ in placed]
        factors, shifts, low, high = np.repeat(np.array(tables), counts, axis=0).swapaxes(0, 1)
        boxes, labels, ignore_flags = (np.concatenate(each) for each in zip(*(s[2:] for s, _ in placed), strict=True))
        on_canvas = np.minimum(np.maximum(boxes * factors + shifts, low), high)
        warped = clip_boxes(transform_boxes(on_canvas, affine), (0, 0, *self.img_scale))
        keep = self._worth_keeping(on_canvas, warped, scale)
        return Plan(self.img_scale, [tiles], warped[keep].astype(np.float32), labels[keep], ignore_flags[keep])

    def _random_affine(self, canvas_size: tuple[int, int]) -> tuple[np.ndarray, float]:
        """Return a (2, 3) matrix, canvas pixels -> output pixels, and its scale."""
        share, *signed = np.random.random_sample(6).tolist()
        angle, shear_x, shear_y, x, y = (2 * each - 1 for each in signed)
        scale = self.scale[0] + share * (self.scale[1] - self.scale[0])
        angle = math.radians(angle * self.max_rotate_degree)
        shear_x, shear_y = (math.tan(math.radians(each * self.max_shear_degree)) for each in (shear_x, shear_y))
        x, y = ((0.5 + part * self.translate) * side for part, side in zip((x, y), self.img_scale, strict=True))
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        centred = np.array(((1.0, 0.0, -canvas_size[0] / 2), (0.0, 1.0, -canvas_size[1] / 2)))
        rotated = compose(np.array(((cos, sin, 0.0), (-sin, cos, 0.0))), centred)
        return compose(np.array(((1.0, shear_x, x), (shear_y, 1.0, y))), rotated), scale

    def _worth_keeping(self, on_canvas: np.ndarray, warped: np.ndarray, scale: float) -> np.ndarray:
        width_before, height_before = (on_canvas[:, 2:] - on_canvas[:, :2]).T * scale
        width, height = (warped[:, 2:] - warped[:, :2]).T
        shorter, longer = np.minimum(width, height), np.maximum(width, height)
        return (
            (shorter > self.min_box_size)
            & (width * height > self.min_area_ratio * width_before * height_before)
            & (longer < self.max_aspect_ratio * shorter)
        )
