"""Inference: detections, drawn images and videos, and label files for any stream of images."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from mmcnn import compat
from mmcnn.console.layout import number
from mmcnn.errors import UsageError
from mmcnn.exported_file import is_exported
from mmcnn.inference.base_detector import BaseDetector
from mmcnn.inference.images import frames_in
from mmcnn.inference.sources import DetectedFrame, Sources, find_sources
from mmcnn.inference.threads import Behind
from mmcnn.inference.video import DEFAULT_FPS
from mmcnn.plots.fonts import check_font, say_what_is_missing
from mmcnn.runs.exported import NAMES, WITHOUT_MEANING, refuse_options
from mmcnn.runs.infer_files import InferFiles, plan_files
from mmcnn.runs.options import InferOptions

DEFAULT_FOLDER = 'detections'
#: Suffixes of formats that never hold more than one image, or only small copies of it.
_SINGLE = ('.jpg', '.jpeg', '.jfif', '.png', '.bmp')
_SHOWN = 3  # number of names in a note
#: Maximum number of images that wait to be written.
WAITING = 4


@dataclass(frozen=True)
class InferResult:
    """The result of an inference.

    Attributes:
        folder: contains ``detections.json``, the drawn images and videos, and the label files.
        images: number of image files that were read.
        videos: number of videos and cameras with at least one frame.
        frames: number of their frames.
        objects: total number of detections.
        left_out: a sentence about each file that was not read, or not to its end.
    """

    folder: Path
    images: int
    videos: int
    frames: int
    objects: int
    left_out: tuple[str, ...]


def infer(options: InferOptions, say: Callable[[str], object] = print) -> InferResult:
    """Detect objects in all images of the sources, and write the results to a folder.

    - ``detections.json``: for each image (its name relative to the given folder; ``clip.mp4/000012`` for a frame) a
      list of ``bbox`` (x1, y1, x2, y2 in pixels), ``score``, ``label`` and ``name``.
    - Each image with its boxes, and each video with the same frames, rate and size: MPEG-4 in .mp4, or MJPEG in .avi
      if a side is odd.
    - ``coco.json`` with ``format='coco'``, ``yolo/labels/`` and ``yolo/data.yaml`` with ``'yolo'``; the frames of
      videos are then also written to ``frames/``, without boxes.

    Nothing is overwritten. After Ctrl-C, the results so far are complete, which ``say`` is told; for a camera it is the
    usual end.

    Args:
        options: what to read, and which checkpoint or exported network to use.
        say: called with a sentence about each change of the config, about videos with unknown rates, about images
            with several frames, and about the results if Ctrl-C was pressed.

    Raises:
        UsageError: an option is invalid, there is nothing to read, or a file would be overwritten.
        CheckpointError: the checkpoint or the exported network cannot be used.
        DataError: no image could be read, or a result cannot be written.
    """
    check_font(options.font)
    sources = find_sources(options.sources)
    folder = _folder(options.out)
    drawn = plan_files(sources.sources, folder, options.format)
    left_out = list(sources.left_out)
    with _opened(options, say) as detector:
        stream = detector.stream(
            sources, options.batch_size, options.max_frames, on_skip=lambda error: left_out.append(str(error))
        )
        say_what_is_missing(detector.classes, options.font, say)
        files = InferFiles(folder, drawn, detector.classes, options.format, options.font)
        try:
            with files:
                write(stream, sources, files, say)
        except KeyboardInterrupt:
            if counts := [number(n, what) for n, what in ((files.images, 'image'), (files.frames, 'frame')) if n]:
                say(f'stopped: the results of {" and ".join(counts)} are in {folder}')
            raise
    return InferResult(folder, files.images, len(files.videos), files.frames, files.objects, tuple(left_out))


def write(
    stream: Generator[DetectedFrame], sources: Sources, files: InferFiles, say: Callable[[str], object] = print
) -> None:
    """Write the results of a stream image by image, while the network processes the next ones; close the stream.

    Args:
        stream: stream of a detector.
        sources: the sources that it reads. Ctrl-C may end a camera's.
        files: get each image.
        say: called with a sentence about videos with unknown rates, and about images with several frames.
    """
    several: list[str] = []
    with Behind(files.add, WAITING) as add, contextlib.closing(stream):
        try:
            for frame in stream:
                add(frame)
                if frame.index is None and (count := _frames_of(frame.path)) > 1:
                    several.append(f'{frame.name} ({count})')
                if frame.index == 0 and frame.fps is None:
                    say(f'note: {frame.source.name} has no frame rate; the drawn video '
                        f'has {DEFAULT_FPS:g} frames per second')  # fmt: skip
        except KeyboardInterrupt:
            if not any(source.camera is not None for source in sources.sources):
                raise
    if several:
        more = f' and {len(several) - _SHOWN} more' if len(several) > _SHOWN else ''
        say(f'note: only the first frame or page of an image is read: {", ".join(several[:_SHOWN])}{more}')


def _frames_of(path: Path) -> int:
    return 1 if path.suffix.lower() in _SINGLE else frames_in(path)


@contextlib.contextmanager
def _opened(options: InferOptions, say: Callable[[str], object]) -> Iterator[BaseDetector]:
    """Provide the detector of a checkpoint, with the setup of every PyTorch run, or of an exported network."""
    if is_exported(options.checkpoint):
        from mmcnn.runtime import Detector

        refuse_options(options, WITHOUT_MEANING | dict(classes=NAMES))
        yield Detector(options.checkpoint, options.score_thr)
        return
    compat.check()
    from mmcnn.runs.checkpoint_detector import checkpoint_detector

    with checkpoint_detector(options, say) as detector:
        yield detector


def _folder(chosen: str | Path | None) -> Path:
    """Return the folder of the results, which need not exist yet.

    Raises:
        UsageError: it is a file or cannot be written to.
    """
    if chosen is None:
        folder, number = Path(DEFAULT_FOLDER), 1
        while folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            number += 1
            folder = Path(f'{DEFAULT_FOLDER}-{number}')
    else:
        folder = Path(chosen)
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise UsageError(f'out={folder}: {there} is a file; give a folder')
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f'out={folder}: {there} is not writable; choose another folder')
    return folder
