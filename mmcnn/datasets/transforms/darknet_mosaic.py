"""Jitter crop and mosaic as Darknet trains YOLOv4."""

from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmcnn.datasets.transforms.tiles import Sample, Tile, clip_boxes, draw_tile, transform_boxes
from mmcnn.registry import TRANSFORMS

_CUT_RANGE = (0.2, 0.8)


@TRANSFORMS.register_module()
class DarknetMosaic(BaseTransform):
    """Darknet's jitter crop of each image and its mosaic of four, drawn straight onto the output.

    Jitter: each border of the image moves by U(-jitter, jitter) of the side, in or out; what is then inside is
    stretched to the output size W x H without keeping the aspect ratio; what lies outside of the image is filled.
    Mosaic: a cut point in [0.2, 0.8] of each side; four jittered images, each with a corner at the cut point, each seen
    through its quadrant. With p = 1/2 for each image, filling that lies at the cut is moved away, so that the picture
    itself touches the cut point. Boxes are clipped to their jittered image and to the output; those below
    ``min_box_size`` are dropped.

    Source: AlexeyAB's Darknet, as run by yolov4.cfg (``mosaic=1``, ``mosaic_bound=0``).

    Interpretations, where this is not literally Darknet:

    - The coin of the mosaic is tossed for each sample. Darknet tosses one for each call of a loader thread, so its
      batches hold runs of mosaics and runs of plain images; the share is the same.
    - Flip and colour change follow as transforms of the whole output. Darknet draws them for each source image.
    - Where an image touches the cut, the shift stops when the quadrant would look past the jittered image's far edge.
    - Shifts are continuous; Darknet rounds them to source pixels.

    It goes into the pipeline of mmdet's ``MultiImageMixDataset``; the inner data set loads image and boxes only.
    ``gt_ignore_flags`` travel with their boxes.

    Args:
        img_scale: Output size (w, h) in pixels.
        mosaic_prob: Probability of a mosaic.
        jitter: Largest shift of a border, as a fraction of the side, in [0, 0.5).
        min_box_size: Boxes shorter than this in either direction are dropped, in output pixels.
        pad_val: Grey value outside of the images; None fills with each image's mean colour, as Darknet does.

    Raises:
        ValueError: At construction, for a setting out of its range.
    """

    def __init__(
        self,
        img_scale: tuple[int, int] = (608, 608),
        mosaic_prob: float = 0.5,
        jitter: float = 0.3,
        min_box_size: float = 1.0,
        pad_val: int | None = None,
    ) -> None:
        if not 0 <= mosaic_prob <= 1:
            raise ValueError(f'DarknetMosaic: mosaic_prob is {mosaic_prob}; a probability lies in [0, 1]')
        if not 0 <= jitter < 0.5:
            raise ValueError(f'DarknetMosaic: jitter is {jitter}; it lies in [0, 0.5), or the crop could vanish')
        self.img_scale = tuple(img_scale)
        self.mosaic_prob = mosaic_prob
        self.jitter = jitter
        self.min_box_size = min_box_size
        self.pad_val = pad_val

    def get_indexes(self, dataset: Sequence) -> list[int]:
        """Draws whether this sample is a mosaic, and the further images that it needs: 0 or 3."""
        count = 3 if np.random.uniform() < self.mosaic_prob else 0
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
            ValueError: If there are no ``mix_results`` or their number is not 0 or 3.
        """
        mix_results = results.get('mix_results')
        if mix_results is None or len(mix_results) not in (0, 3):
            found = 'none' if mix_results is None else len(mix_results)
            raise ValueError(
                f'DarknetMosaic needs 0 or 3 mix_results, found {found}; '
                'it belongs into the pipeline of a MultiImageMixDataset'
            )
        width, height = self.img_scale
        samples = [Sample.from_results(each) for each in (results, *mix_results)]
        output = np.empty((height, width, 3), np.uint8)
        if len(samples) == 1:
            placed = [(samples[0], (0, 0, width, height))]
        else:
            x, y = (int(side * np.random.uniform(*_CUT_RANGE)) for side in (width, height))
            quadrants = (0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)
            placed = [(samples[index], each) for index, each in zip(np.random.permutation(4), quadrants, strict=True)]
        annotations = [self._draw(output, sample, window) for sample, window in placed]
        return Sample(output, *(np.concatenate(each) for each in zip(*annotations, strict=True))).write_to(results)

    def _draw(
        self, output: np.ndarray, sample: Sample, window: tuple[int, int, int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draws one jittered image into ``window`` (xyxy, output pixels).

        Returns:
            Boxes (N, 4) in output pixels, labels (N,) and ignore flags (N,) of what is left.
        """
        h, w = sample.image.shape[:2]
        crop = np.random.uniform(-self.jitter, self.jitter, size=4) * (w, h, w, h) + (0, 0, w, h)
        matrix = self._place(crop, (w, h), window, touch_cut=np.random.uniform() < 0.5)

        x1, y1, x2, y2 = window
        output[y1:y2, x1:x2] = cv2.mean(sample.image)[:3] if self.pad_val is None else self.pad_val
        in_source = (np.reshape(window, (2, 2)) - matrix[:, 2]) / matrix[[0, 1], [0, 1]]
        region = clip_boxes(in_source.reshape(1, 4), (0, 0, w, h))[0]
        draw_tile(output, Tile(sample.image, matrix, tuple(region)))

        boxes = transform_boxes(clip_boxes(sample.boxes, tuple(crop)), matrix)
        boxes = clip_boxes(boxes, (0, 0, *self.img_scale))
        keep = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= self.min_box_size
        return boxes[keep], sample.labels[keep], sample.ignore_flags[keep]

    def _place(
        self,
        crop: np.ndarray,
        source_size: tuple[int, int],
        window: tuple[int, int, int, int],
        touch_cut: bool,
    ) -> np.ndarray:
        """The (2, 3) matrix, source pixels -> output pixels, of a crop (xyxy, source pixels) seen through a window.

        The crop becomes W x H pixels with its corner at the window's inner corner, the cut point. A window of the whole
        output has no cut: the crop then fills it.
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
