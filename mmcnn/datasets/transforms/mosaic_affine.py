"""Mosaic, random affine and MixUp in one pass, as YOLOv5 trains."""

from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmcnn.datasets.transforms.tiles import Sample, Tile, clip_boxes, compose, draw_tile, placement, transform_boxes
from mmcnn.registry import TRANSFORMS

_EXTRA_FOR_MOSAIC = 3
_EXTRA_FOR_MIXUP = 7  # the rest of the first mosaic and all of a second one


@TRANSFORMS.register_module()
class MosaicAffine(BaseTransform):
    """Mosaic of four images, centred random affine and MixUp of two mosaics, drawn straight onto the output.

    The recipe is that of YOLOv5 v6.1 (W x H stands for ``img_scale``):

    1. Mosaic: on a 2W x 2H canvas with its centre drawn from U(W/2, 3W/2) x U(H/2, 3H/2), four images in random order,
       each resized to fit W x H with its aspect ratio kept, each with one corner at the centre, cut off by the canvas.
       Without mosaic: one image resized in the same way, centred on a W x H canvas.
    2. Affine: translation . shear . rotation and scale . (canvas centre to the origin); the canvas centre lands on
       U(0.5 - t, 0.5 + t) of the output in each axis.
    3. Boxes, clipped to the output, stay if they are longer than ``min_box_size`` in both directions, keep more than
       ``min_area_ratio`` of the area they had on the canvas (times scale squared) and are less elongated than
       ``max_aspect_ratio``.
    4. MixUp: ``r * a + (1 - r) * b`` of two such mosaics, r ~ Beta(32, 32), annotations concatenated. Mosaics only: an
       image that was not made a mosaic is not mixed.

    The reference builds the canvas and warps it; here each image's resize, placement and affine are one matrix and one
    interpolation. Boxes are the same; pixels differ by interpolation only, and by the half pixel that the reference
    leaves out between box coordinates and OpenCV's pixel centres.

    It goes into the pipeline of mmdet's ``MultiImageMixDataset``; the inner data set loads image and boxes only.
    ``gt_ignore_flags`` travel with their boxes.

    Args:
        img_scale: Output size (w, h) in pixels.
        mosaic_prob: Probability of a mosaic.
        mixup_prob: Probability that a mosaic is mixed with a second one.
        scale: Range of the affine's scale.
        translate: Largest shift of the canvas centre, as a fraction of the output.
        max_rotate_degree: Largest rotation, either way, in degrees.
        max_shear_degree: Largest shear of each axis, either way, in degrees.
        pad_val: Grey value where no image is.
        min_box_size: Boxes must be longer than this in both directions, in output pixels.
        min_area_ratio: Boxes must keep more than this share of their scaled area.
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
        pad_val: int = 114,
        min_box_size: float = 2.0,
        min_area_ratio: float = 0.1,
        max_aspect_ratio: float = 100.0,
    ) -> None:
        for name, probability in (('mosaic_prob', mosaic_prob), ('mixup_prob', mixup_prob)):
            if not 0 <= probability <= 1:
                raise ValueError(f'MosaicAffine: {name} is {probability}; a probability lies in [0, 1]')
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f'MosaicAffine: scale is {scale}; it takes (low, high) with 0 < low <= high')
        if not 0 <= max_shear_degree < 90:
            raise ValueError(f'MosaicAffine: max_shear_degree is {max_shear_degree}; it lies in [0, 90)')
        self.img_scale = tuple(img_scale)
        self.mosaic_prob = mosaic_prob
        self.mixup_prob = mixup_prob
        self.scale = scale
        self.translate = translate
        self.max_rotate_degree = max_rotate_degree
        self.max_shear_degree = max_shear_degree
        self.pad_val = pad_val
        self.min_box_size = min_box_size
        self.min_area_ratio = min_area_ratio
        self.max_aspect_ratio = max_aspect_ratio

    def get_indexes(self, dataset: Sequence) -> list[int]:
        """Draws whether this sample is a mosaic, and mixed, and the further images that it needs: 0, 3 or 7."""
        if np.random.uniform() >= self.mosaic_prob:
            count = 0
        elif np.random.uniform() >= self.mixup_prob:
            count = _EXTRA_FOR_MOSAIC
        else:
            count = _EXTRA_FOR_MIXUP
        return np.random.randint(len(dataset), size=count).tolist()

    def transform(self, results: dict) -> dict:
        """Replaces image and annotations by the mixed ones.

        Args:
            results: Of MMDetection's loading transforms, with ``mix_results``, the results of the further images;
                their number says what to draw.

        Returns:
            ``results`` with new ``img`` (H, W, 3), ``img_shape``, ``gt_bboxes``, ``gt_bboxes_labels`` and
            ``gt_ignore_flags``; without ``mix_results``.

        Raises:
            ValueError: If there are no ``mix_results`` or their number is not 0, 3 or 7.
        """
        mix_results = results.get('mix_results')
        if mix_results is None or len(mix_results) not in (0, _EXTRA_FOR_MOSAIC, _EXTRA_FOR_MIXUP):
            found = 'none' if mix_results is None else len(mix_results)
            raise ValueError(
                f'MosaicAffine needs 0, 3 or 7 mix_results, found {found}; '
                'it belongs into the pipeline of a MultiImageMixDataset'
            )
        samples = [Sample.from_results(each) for each in (results, *mix_results)]
        mixed = self._mosaic(samples[:4]) if len(samples) > 1 else self._single(samples[0])
        if len(samples) > 4:
            mixed = _mixup(mixed, self._mosaic(samples[4:]), ratio=np.random.beta(32.0, 32.0))
        return mixed.write_to(results)

    def _mosaic(self, samples: list[Sample]) -> Sample:
        width, height = self.img_scale
        centre_x = int(np.random.uniform(0.5 * width, 1.5 * width))
        centre_y = int(np.random.uniform(0.5 * height, 1.5 * height))
        placed = []
        for quadrant, index in enumerate(np.random.permutation(4)):
            w, h = self._fitted_size(samples[index].image)
            x = centre_x - w if quadrant in (0, 2) else centre_x
            y = centre_y - h if quadrant in (0, 1) else centre_y
            placed.append((samples[index], (x, y, x + w, y + h)))
        return self._draw(placed, canvas_size=(2 * width, 2 * height))

    def _single(self, sample: Sample) -> Sample:
        width, height = self.img_scale
        w, h = self._fitted_size(sample.image)
        x, y = (width - w) // 2, (height - h) // 2
        return self._draw([(sample, (x, y, x + w, y + h))], canvas_size=(width, height))

    def _fitted_size(self, image: np.ndarray) -> tuple[int, int]:
        h, w = image.shape[:2]
        ratio = min(self.img_scale[0] / w, self.img_scale[1] / h)
        return max(1, round(w * ratio)), max(1, round(h * ratio))

    def _draw(self, placed: list[tuple[Sample, tuple[int, int, int, int]]], canvas_size: tuple[int, int]) -> Sample:
        """Warps samples, each filling a rectangle of the (virtual) canvas, onto the output with one random affine."""
        affine, scale = self._random_affine(canvas_size)
        width, height = self.img_scale
        output = np.full((height, width, 3), self.pad_val, np.uint8)
        boxes, labels, ignore_flags = [], [], []
        for sample, (x1, y1, x2, y2) in placed:
            visible = max(x1, 0), max(y1, 0), min(x2, canvas_size[0]), min(y2, canvas_size[1])
            h, w = sample.image.shape[:2]
            resize = placement((w, h), (x1, y1, x2, y2))
            region = (np.reshape(visible, (2, 2)) - resize[:, 2]) / (resize[0, 0], resize[1, 1])
            draw_tile(output, Tile(sample.image, compose(affine, resize), tuple(region.ravel())))

            on_canvas = clip_boxes(transform_boxes(sample.boxes, resize), visible)
            warped = clip_boxes(transform_boxes(on_canvas, affine), (0, 0, width, height))
            keep = self._worth_keeping(on_canvas, warped, scale)
            boxes.append(warped[keep])
            labels.append(sample.labels[keep])
            ignore_flags.append(sample.ignore_flags[keep])
        return Sample(output, np.concatenate(boxes), np.concatenate(labels), np.concatenate(ignore_flags))

    def _random_affine(self, canvas_size: tuple[int, int]) -> tuple[np.ndarray, float]:
        """A (2, 3) matrix, canvas pixels -> output pixels, and its scale."""
        scale = np.random.uniform(*self.scale)
        angle = np.radians(np.random.uniform(-self.max_rotate_degree, self.max_rotate_degree))
        shear_x, shear_y = np.tan(np.radians(np.random.uniform(-self.max_shear_degree, self.max_shear_degree, size=2)))
        centre = np.random.uniform(0.5 - self.translate, 0.5 + self.translate, size=2) * self.img_scale
        rotation = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        linear = np.array([[1.0, shear_x], [shear_y, 1.0]]) @ rotation
        shift = centre - linear @ (canvas_size[0] / 2, canvas_size[1] / 2)
        return np.column_stack([linear, shift]), scale

    def _worth_keeping(self, on_canvas: np.ndarray, warped: np.ndarray, scale: float) -> np.ndarray:
        before = (on_canvas[:, 2:] - on_canvas[:, :2]) * scale
        after = warped[:, 2:] - warped[:, :2]
        return (
            (after.min(axis=1) > self.min_box_size)
            & (after.prod(axis=1) > self.min_area_ratio * before.prod(axis=1))
            & (after.max(axis=1) < self.max_aspect_ratio * after.min(axis=1))
        )


def _mixup(first: Sample, second: Sample, ratio: float) -> Sample:
    image = cv2.addWeighted(first.image, ratio, second.image, 1.0 - ratio, 0.0)
    return Sample(image, *(np.concatenate(pair) for pair in zip(first[1:], second[1:], strict=True)))
