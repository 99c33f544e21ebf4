"""Reading and writing of videos and cameras with OpenCV, frame by frame."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from mmcnn.errors import DataError, UsageError

SUFFIXES = (
    '.3gp', '.avi', '.flv', '.m2ts', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.mts', '.ogv', '.ts', '.webm',
    '.wmv',
)  # fmt: skip
#: The headers of these formats count the frames; otherwise OpenCV estimates the number from the duration.
_COUNTED = ('.3gp', '.avi', '.m4v', '.mov', '.mp4')
#: Frame rate of a written video if that of the source is unknown.
DEFAULT_FPS = 25.0
_MOST_FPS = 1000
#: After this many damaged frames in a row, a video is considered to have ended.
_MOST_DAMAGED = 100


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """A frame of a video or a camera.

    Attributes:
        image: (H, W, 3) uint8 BGR, turned upright.
        index: its number among the decoded frames, from 0.
        time: seconds from the start of the video, or from the first frame of the camera; None: unknown.
        fps: frames per second; None: unknown.
    """

    image: np.ndarray = field(repr=False)
    index: int
    time: float | None
    fps: float | None


def read_video(path: Path, max_frames: int | None = None) -> Iterator[VideoFrame]:
    """Yield the frames of a video file that can be decoded, in order.

    Args:
        path: the file. It is closed when the generator is.
        max_frames: maximum number of frames; None: all.

    Raises:
        DataError: there is no such file, OpenCV cannot open it, or no frame can be decoded; or, after the last frame,
            fewer could be decoded than the file declares.
    """
    if not path.is_file():
        raise DataError(f'there is no video {path}', str(path))
    if not path.stat().st_size:
        raise DataError(f'{path} is not a video that OpenCV can read: it is empty', str(path))
    # FFmpeg takes the part before a colon for a protocol, but not in an absolute path. OpenCV's other backends would
    # take a name with digits for that of an image sequence.
    api = cv2.CAP_FFMPEG if cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG) else cv2.CAP_ANY
    with _opened(str(path.absolute()), api) as capture:
        if capture is None:
            if path.suffix.lower() not in SUFFIXES:
                raise DataError(f'{path} is neither an image nor a video that OpenCV can read', str(path))
            reason = 'it is damaged, truncated, not a video, or has a codec that this build of OpenCV lacks'
            raise DataError(f'{path} is not a video that OpenCV can read: {reason}', str(path))
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        fps, announced = _fps(capture), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        count, failures, last = 0, 0, None
        while max_frames is None or count < max_frames:
            done, image = capture.read()
            if not done:
                failures += 1
                if count + failures > announced or failures > _MOST_DAMAGED:
                    break
                continue  # a damaged frame; there may be others after it
            failures = 0
            milliseconds = capture.get(cv2.CAP_PROP_POS_MSEC)
            known = math.isfinite(milliseconds) and (milliseconds > 0 or count == 0) and fps is not None
            last = milliseconds / 1000 if known else None
            yield VideoFrame(image, count, last, fps)
            count += 1
        else:
            return
        if not count:
            raise DataError(f'{path}: no frame can be decoded; this build of OpenCV lacks the codec {_codec(capture)}, '
                            'or the file is damaged', str(path))  # fmt: skip
        if count < announced and _is_cut(path, announced, fps, last):
            raise DataError(f'{path}: only {count} of the {announced:.0f} declared frames can be decoded; the file is '
                            'truncated or damaged', str(path))  # fmt: skip


def read_camera(number: int, max_frames: int | None = None) -> Iterator[VideoFrame]:
    """Yield the frames of a camera, without end.

    Args:
        number: number of the camera, from 0. It is released when the generator is closed.
        max_frames: maximum number of frames; None: until the generator is closed.

    Raises:
        UsageError: there is no such camera, or it returns no image.
        DataError: it stops returning images.
    """
    with _opened(number, cv2.CAP_ANY) as capture:
        if capture is None:
            raise UsageError(f'camera {number} cannot be opened: it is not connected, in use by another program, or '
                             'access is denied')  # fmt: skip
        fps, start, count = _fps(capture), None, 0
        while max_frames is None or count < max_frames:
            done, image = capture.read()
            if not done and not count:
                raise UsageError(f'camera {number} can be opened but returns no image')
            if not done:
                raise DataError(f'camera {number} stopped returning images after {count} frames')
            now = time.monotonic()
            start = now if start is None else start
            yield VideoFrame(image, count, now - start, fps)
            count += 1


class VideoWriter:
    """A video file for frames of one size: MPEG-4 in .mp4, or if that is not available, MJPEG in .avi.

    Args:
        path: the file, whose suffix becomes .avi if the width or height is odd: OpenCV crops these to even numbers in
            every other format.
        size: width and height, pixels. A frame of another size is resized.
        fps: frames per second; None: unknown.

    Attributes:
        path: the file that is written.

    Raises:
        UsageError: OpenCV cannot write such a video.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float | None) -> None:
        self.size, self.fps, self.count = size, fps or DEFAULT_FPS, 0
        self.even = size[0] % 2 == 0 and size[1] % 2 == 0
        self.path = path.with_suffix('.mp4' if self.even else '.avi')
        api, codec = (cv2.CAP_FFMPEG, 'mp4v') if self.even else (cv2.CAP_OPENCV_MJPEG, 'MJPG')
        # OpenCV's own writer supports only integer frame rates.
        fps = self.fps if self.even else max(1, round(self.fps))
        with _quiet():
            self._writer = cv2.VideoWriter(str(self.path.absolute()), api, cv2.VideoWriter_fourcc(*codec), fps, size)
        if not self._writer.isOpened():
            raise UsageError(
                f'{self.path} cannot be written: this build of OpenCV does not write {codec} in {self.path.suffix} at '
                f'{size[0]} x {size[1]} pixels and {self.fps:g} frames per second'
            )

    def write(self, image: np.ndarray) -> None:
        """Add a frame, (H, W, 3) uint8 BGR."""
        if image.shape[1::-1] != self.size:
            image = cv2.resize(image, self.size, interpolation=cv2.INTER_AREA)
        self._writer.write(image)
        self.count += 1

    def close(self) -> None:
        """Complete the file.

        Raises:
            DataError: it does not contain all frames, for example because the disk is full.
        """
        self._writer.release()
        if not self.even:
            _set_avi_rate(self.path, self.fps)
        with _opened(str(self.path.absolute()), cv2.CAP_ANY) as capture:
            found = 0 if capture is None else round(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if found != self.count:
            raise DataError(f'{self.path} contains {found} of {self.count} frames: OpenCV could not write the others')


def _set_avi_rate(path: Path, fps: float) -> None:
    """Write the rate of a video, rate / scale, to the header of its stream (``strh``) in an AVI file."""
    with path.open('r+b') as file:
        start = file.read(4096).find(b'strh') + 8
        file.seek(start + 20)
        file.write((1000).to_bytes(4, 'little') + round(fps * 1000).to_bytes(4, 'little'))


def _is_cut(path: Path, announced: float, fps: float | None, last: float | None) -> bool:
    """Return whether fewer frames than declared means that some are missing, not that the number was an estimate."""
    if path.suffix.lower() in _COUNTED:
        return True
    return fps is not None and last is not None and announced / fps - last > 2.5 / fps


def _fps(capture: cv2.VideoCapture) -> float | None:
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if 0 < fps <= _MOST_FPS else None


def _codec(capture: cv2.VideoCapture) -> str:
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    return repr(code.to_bytes(4, 'little', signed=code < 0).decode('latin-1').strip('\0 '))


@contextlib.contextmanager
def _opened(source: str | int, api: int) -> Iterator[cv2.VideoCapture | None]:
    """Open a video or camera; yield None if it cannot be opened."""
    with _quiet():
        capture = cv2.VideoCapture(source, api)
    try:
        yield capture if capture.isOpened() else None
    finally:
        capture.release()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress OpenCV's own messages about what cannot be opened, next to our error."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
