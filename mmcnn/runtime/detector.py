"""A detector from an exported file."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmcnn.errors import CheckpointError
from mmcnn.fit import Fitted
from mmcnn.inference.base_detector import BaseDetector, checked_score
from mmcnn.inference.detections import Detections
from mmcnn.ops.greedy_sweep import greedy_nms
from mmcnn.runtime.metadata import DETECTION, Metadata
from mmcnn.runtime.sessions import IMAGE_SIZE, IMAGES, open_session

#: Number of outputs of form nms, by its layout.
_NMS_OUTPUTS = {'plain': 4, 'tensorrt': 4, 'deepstream': 1}
#: Boxes (K, 4), scores (K,) and labels (K,) of an image.
Found = tuple[np.ndarray, np.ndarray, np.ndarray]


class Detector(BaseDetector):
    """A detector from a file made by ``mmcnn export``, without PyTorch; its detections are those of mmcnn.Detector.

    Example: ``mmcnn.runtime.Detector('m.onnx')('street.jpg').boxes``. Classes, size, normalisation and post-processing
    come from the file's metadata; a file without metadata is rejected.

    Args:
        path: an ONNX file, or the .xml of OpenVINO's format with its .bin beside it.
        score_thr: detections with a lower score are dropped; 0: all that the file outputs.
        provider: 'cpu', 'cuda', 'tensorrt', 'openvino' or the full name of a provider of ONNX Runtime; None: the CPU.
        threads: number of threads within an operator; None: the number of cores.

    Attributes:
        classes: tuple of the class names.
        metadata: the metadata of the file.
        runtime: name of the runtime that runs the file.

    Raises:
        CheckpointError: the file is missing or damaged, has no metadata of mmcnn or those of a newer release, or is not
            a detector that outputs boxes.
        UsageError: the score or the provider is invalid.
        DependencyError: the package that reads the file is not installed.
    """

    def __init__(
        self, path: str | Path, score_thr: float = 0.25, provider: str | None = None, threads: int | None = None
    ) -> None:
        self.score_thr = checked_score(score_thr)
        self.path = Path(path).expanduser()
        self._session = open_session(self.path, provider, threads)
        self.metadata = Metadata.from_json(self._session.metadata, self.path)
        self.runtime = self._session.runtime
        self._check()
        self.classes = self.metadata.classes
        least = self.metadata.test_cfg['score_thr']
        if self.metadata.form == 'nms' and 0 < score_thr < least:
            warnings.warn(f'score_thr={score_thr:g}: {self.path} itself drops scores up to {least:g}', stacklevel=2)

    def _check(self) -> None:
        """Raise an error for a file that is not a detector, or whose metadata belong to another file.

        Raises:
            CheckpointError: it is such a file.
        """
        said, of = self.metadata, self.metadata.input
        if said.task != DETECTION:
            raise CheckpointError(f'{self.path} is for {said.task}, not for detection')
        if said.form == 'raw':
            raise CheckpointError(
                f'{self.path} outputs raw maps, which cannot be decoded here: export with --form decoded or --form nms'
            )
        sides = (None, None) if of.size is None else of.size
        images = (of.dtype, (of.batch, 3, *sides) if of.layout == 'NCHW' else (of.batch, *sides, 3))
        expected = {IMAGES: images} | ({IMAGE_SIZE: ('int64', (2,))} if of.image_size else {})
        taken, given = self._session.inputs, self._session.outputs
        count = 2 if said.form == 'decoded' else _NMS_OUTPUTS.get(said.layout)
        if (
            {name: kind for name, (kind, _) in taken.items()} != {name: kind for name, (kind, _) in expected.items()}
            or not all(_may_be(shape, taken[name][1]) for name, (_, shape) in expected.items())
            or len(given) != count
            or (said.form == 'decoded' and not _may_be((None, None, len(said.classes)), given[1]))
            or (of.size is not None and said.fit.canvas != of.size)
        ):
            raise CheckpointError(
                f'{self.path} has the metadata of another file: it takes {taken} and returns {given}, but they say '
                f'{expected}, {count} outputs and {len(said.classes)} classes'
            )

    def _detect_fitted(self, fitted: list[Fitted], given: Sequence[object]) -> list[Detections]:
        return [self._detections(*found, each) for found, each in zip(self._find(fitted), given, strict=True)]

    def find(self, arrays: Sequence[np.ndarray]) -> list[Found]:
        """Return all detections that the post-processing keeps, for evaluation; for display use :meth:`__call__`.

        Args:
            arrays: images (H, W, 3) uint8 BGR.

        Returns:
            For each image, best first: boxes (K, 4) float32, xyxy in pixels of the image, including those without area;
                scores (K,) float32; labels (K,) int64.
        """
        return self._find([self._fit(array) for array in arrays])

    def _find(self, fitted: Sequence[Fitted]) -> list[Found]:
        found: dict[int, Found] = {}
        for numbers in self._batches([each.image.shape for each in fitted]):
            outputs = self._session.run(self._feeds([fitted[i] for i in numbers]))
            for row, i in enumerate(numbers):
                boxes, scores, labels = self._found(outputs, row)
                found[i] = fitted[i].back(boxes, self.metadata.clip), scores, labels.astype(np.int64)
        return [found[i] for i in range(len(fitted))]

    def feeds(self, array: np.ndarray) -> dict[str, np.ndarray]:
        """Return the inputs of the file for an image (H, W, 3) uint8 BGR, by their names."""
        return self._feeds([self._fit(array)])

    def _feeds(self, fitted: list[Fitted]) -> dict[str, np.ndarray]:
        """Return the same for several images on canvases of the same size."""
        size = {IMAGE_SIZE: np.array(fitted[0].size, np.int64)} if self.metadata.input.image_size else {}
        return {IMAGES: self._images(fitted), **size}

    def _fit(self, image: np.ndarray) -> Fitted:
        fit = self.metadata.fit
        whole = self.metadata.input.dtype == 'uint8' or all(float(value).is_integer() for value in fit.value)
        return fit.apply(image, np.uint8 if whole else np.float32)

    def _batches(self, shapes: list[tuple[int, ...]]) -> list[list[int]]:
        """Return the indices of the images that form a batch: of the same shape, and as many as the file accepts."""
        same: dict[tuple[int, ...], list[int]] = {}
        for i, shape in enumerate(shapes):
            same.setdefault(shape, []).append(i)
        most = self.metadata.input.batch or len(shapes)
        return [each[start : start + most] for each in same.values() for start in range(0, len(each), most)]

    def _images(self, fitted: list[Fitted]) -> np.ndarray:
        """Return the images in the file's input form."""
        of = self.metadata.input
        images = np.stack([each.image for each in fitted])
        if of.channel_order == 'rgb':
            images = images[..., ::-1]
        if of.normalised:
            images = (images.astype(np.float32) - np.float32(of.mean)) / np.float32(of.std)
        if of.layout == 'NCHW':
            images = images.transpose(0, 3, 1, 2)
        images = np.ascontiguousarray(images, of.dtype)
        # If the file takes a fixed number of images, the last batch is padded; detections in the padding are ignored.
        missing = (of.batch or 0) - len(images)
        return np.concatenate([images, *[images[-1:]] * missing]) if missing > 0 else images

    def _found(self, outputs: list[np.ndarray], row: int) -> Found:
        """Return boxes (K, 4) on the canvas, scores (K,) and labels (K,) of an image of the batch, best first."""
        if self.metadata.form == 'decoded':
            return self._suppressed(*(each[row].astype(np.float32, copy=False) for each in outputs))
        if self.metadata.layout == 'deepstream':
            kept = outputs[0][row][outputs[0][row, :, 4] > 0]
            boxes, scores, labels = kept[:, :4], kept[:, 4], kept[:, 5].astype(np.int64)
        else:
            count = int(outputs[0].reshape(-1)[row])
            boxes, scores, labels = (each[row, :count] for each in outputs[1:])
        if labels.max(initial=-1) >= len(self.classes):
            raise CheckpointError(
                f'{self.path} detects class {labels.max()}, but has only {len(self.classes)} class names'
            )
        return boxes.astype(np.float32), scores.astype(np.float32), labels

    def _suppressed(self, boxes: np.ndarray, scores: np.ndarray) -> Found:
        """Return what the post-processing keeps of boxes (B, 4) with scores (B, C)."""
        cfg = self.metadata.test_cfg
        # Boxes below this detector's threshold do not suppress any box above it.
        sure = (scores > cfg['score_thr']) & (scores >= self.score_thr)
        if cfg['multi_label']:
            index, labels = np.nonzero(sure)
        else:
            best = scores.argmax(axis=1)
            index = np.flatnonzero(np.take_along_axis(sure, best[:, None], 1))
            labels = best[index]
        scores = scores[index, labels]
        if 0 < cfg['nms_pre'] < len(scores):
            first = np.argsort(-scores, kind='stable')[: cfg['nms_pre']]
            index, labels, scores = index[first], labels[first], scores[first]
        nms, most = cfg['nms'], cfg['max_per_img']
        kept = greedy_nms(
            boxes[index], scores, labels, nms['iou_threshold'], nms.get('type', 'iou'), most if most > 0 else None
        )
        return boxes[index[kept]], scores[kept], labels[kept]


def _may_be(expected: tuple[int | None, ...], shape: tuple[int | None, ...]) -> bool:
    """Return whether two shapes can be equal, where None stands for any number."""
    pairs = zip(expected, shape, strict=False)
    return len(expected) == len(shape) and all(None in pair or pair[0] == pair[1] for pair in pairs)
