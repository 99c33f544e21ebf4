"""The common part of the detectors: mmcnn.Detector and the runner of exported files, which works without PyTorch."""

from __future__ import annotations

import contextlib
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmcnn.errors import DataError, UsageError
from mmcnn.inference.detections import Detections
from mmcnn.inference.images import as_image
from mmcnn.inference.sources import DetectedFrame, Frame, Sources, find_sources
from mmcnn.inference.threads import ahead
from mmcnn.nearest import as_share

#: Number of images of a list that are processed as a batch.
BATCH_SIZE = 8
#: Number of images that a stream reads ahead in addition to the next batch.
AHEAD = 2


@dataclass(frozen=True, eq=False)
class _Read:
    """The result of a reading step: an image, the end of the stream, or an error.

    Attributes:
        skipped: why files before it could not be read.
        frame: the image and its origin; None: the stream has ended.
        fitted: the image in the form that a batch takes.
        error: the error that ends the stream.
    """

    skipped: tuple[DataError, ...]
    frame: Frame | None = None
    fitted: Any = None
    error: Exception | None = None


class BaseDetector(ABC):
    """Detects objects in images, lists of images and streams.

    Attributes:
        classes: tuple of the class names.
        score_thr: detections with a lower score are dropped.
    """

    classes: tuple[str, ...]
    score_thr: float

    @abstractmethod
    def _fit(self, image: np.ndarray) -> Any:
        """Return an image (H, W, 3) uint8 BGR in a batch's form; for a stream the reading thread calls this."""

    @abstractmethod
    def _detect_fitted(self, fitted: list[Any], given: Sequence[object]) -> list[Detections]:
        """Return the detections in results of :meth:`_fit` for images that were given in any form."""

    def _detect(self, arrays: Sequence[np.ndarray], given: Sequence[object]) -> list[Detections]:
        return self._detect_fitted([self._fit(array) for array in arrays], given)

    def __call__(self, image: object) -> Detections | list[Detections]:
        """Detect objects in one image or in each image of a list.

        Examples: ``detector('street.jpg')``, ``detector(cv2.imread('street.jpg'))``, ``detector(['a.jpg', 'b.jpg'])``.
        NumPy arrays are (H, W, 3) in BGR order, as OpenCV reads them; PyTorch tensors are (3, H, W) in RGB order; PIL
        images have the order of their mode.

        Args:
            image: a path, an array, a PIL image, a tensor, the bytes of an image file, or a list or tuple of these.
                :func:`mmcnn.inference.images.as_image` lists the arrays that are converted: greyscale, with alpha,
                channels first, floats from 0 to 1, 16 bits, ...

        Returns:
            The detections; for a list, a list of them in the same order, computed in batches of :data:`BATCH_SIZE`.

        Raises:
            UsageError: the argument is none of these, or an array is not an image; the message says what would be
                right.
            DataError: a file cannot be read; if it does not exist, the error is also a FileNotFoundError.
        """
        if not isinstance(image, list | tuple):
            return self._detect([as_image(image)], [image])[0]
        found = []
        for start in range(0, len(image), BATCH_SIZE):
            some = image[start : start + BATCH_SIZE]
            found += self._detect(arrays_of(some, start), some)
        return found

    def batch(self, images: Sequence[object]) -> list[Detections]:
        """Detect objects in several images as one batch; see :meth:`__call__`."""
        return self._detect(arrays_of(images), images)

    def stream(
        self,
        source: str | os.PathLike | int | Sequence[str | os.PathLike | int] | Sources,
        batch_size: int = 1,
        max_frames: int | None = None,
        on_skip: Callable[[DataError], None] | None = None,
    ) -> Iterator[DetectedFrame]:
        """Detect objects in all images of a folder, a video or a camera, one after the other.

        Example: ``for frame in detector.stream('clip.mp4'): print(frame.time, frame.found)``. Another thread reads and
        resizes the next images while the network runs, except for a camera, whose image would then be outdated. At most
        twice ``batch_size`` plus two images are in memory. When the generator is exhausted or closed, the video or
        camera is released and the thread has ended.

        Args:
            source: a folder, a pattern such as ``'day*/*.jpg'``, an image or video file, the number of a camera, or a
                list of these; see :func:`mmcnn.inference.sources.find_sources`. Videos are rotated upright.
            batch_size: number of images that are processed as a batch.
            max_frames: maximum number of frames that are read of each video or camera; None: all.
            on_skip: is called with the error for each file that cannot be read and each video that ends early because
                it is damaged; None: a warning is issued. The stream continues with the next file.

        Yields:
            For each image or frame the detections (``found``), the ``image`` (H, W, 3) uint8 BGR, and its origin
            (``path``, ``index``, ``time`` in seconds).

        Raises:
            UsageError: immediately if the source does not exist or holds no images, or if a number is below 1; at the
                first frame if there is no such camera.
            DataError: no file could be read at all.
        """
        for name, value in (('batch_size', batch_size), ('max_frames', max_frames)):
            if value is not None and value < 1:
                raise UsageError(f'{name}={value}: the value must be at least 1')
        sources = source if isinstance(source, Sources) else find_sources(source)
        return self._stream(sources, batch_size, max_frames, on_skip or _warn)

    def _stream(
        self, sources: Sources, batch_size: int, max_frames: int | None, on_skip: Callable[[DataError], None]
    ) -> Iterator[DetectedFrame]:
        skipped: list[DataError] = []
        frames = sources.read(skipped.append, max_frames)

        def step() -> _Read:
            skipped.clear()
            try:
                frame = next(frames, None)
                fitted = None if frame is None else self._fit(frame.image)
            except Exception as error:  # raised again, in order, by the thread that asks for the image
                return _Read(tuple(skipped), error=error)
            return _Read(tuple(skipped), frame, fitted)

        live = any(source.camera is not None for source in sources.sources)
        count = 0 if live else batch_size + AHEAD
        with contextlib.closing(frames), contextlib.closing(ahead(step, count)) as reads:
            while batch := _batch(reads, batch_size, on_skip):
                files = [None if each.frame.source.is_video else each.frame.path for each in batch]
                all_found = self._detect_fitted([each.fitted for each in batch], files)
                for frame, found in zip((each.frame for each in batch), all_found, strict=True):
                    yield DetectedFrame(frame.source, frame.image, frame.index, frame.time, frame.fps, found=found)

    def _detections(self, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, given: object) -> Detections:
        """Return the detections of an image without those below the threshold and those without area."""
        # Boxes that a hardly trained network puts outside the image have no area after clipping.
        sure = (scores >= self.score_thr) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        names = [self.classes[label] for label in labels[sure].tolist()]
        path = Path(given) if isinstance(given, str | os.PathLike) else None
        return Detections(boxes[sure], scores[sure], labels[sure], names, path)


def _batch(reads: Iterator[_Read], batch_size: int, on_skip: Callable[[DataError], None]) -> list[_Read]:
    """Return the next images of a stream: as many as a batch has, or fewer at its end."""
    batch: list[_Read] = []
    while len(batch) < batch_size:
        read = next(reads)
        for error in read.skipped:
            on_skip(error)
        if read.error is not None:
            raise read.error
        if read.frame is None:
            break
        batch.append(read)
    return batch


def checked_score(score_thr: float) -> float:
    """Return a score threshold after checking it.

    Raises:
        UsageError: it is not between 0 and 1.
    """
    if not 0 <= score_thr <= 1:
        raise UsageError(f'score_thr={score_thr}: the value must be between 0 and 1{as_share(score_thr)}')
    return score_thr


def arrays_of(images: Sequence[object], first: int = 0) -> list[np.ndarray]:
    """Return images of any form as arrays; ``first`` is the number of the first one in messages."""
    return [as_image(image, f'images[{number}]') for number, image in enumerate(images, start=first)]


def _warn(error: DataError) -> None:
    warnings.warn(f'left out: {error}', stacklevel=2)
