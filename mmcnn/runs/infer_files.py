"""The files of an inference: detections.json, drawn images and videos, label files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

import yaml

from mmcnn.errors import UsageError
from mmcnn.image_file import IMAGE_SUFFIXES
from mmcnn.inference.images import write_image
from mmcnn.inference.sources import DETECTIONS_FILE, DetectedFrame, Source
from mmcnn.inference.video import VideoWriter
from mmcnn.plots.boxes import draw_boxes

COCO_FILE = 'coco.json'
YOLO_FOLDER = 'yolo'
FRAMES_FOLDER = 'frames'


def plan_files(sources: Sequence[Source], folder: Path, formats: Sequence[str]) -> dict[Source, Path]:
    """Return the path of the drawn image or video of each source, all different.

    Args:
        sources: images, videos and cameras.
        folder: folder of the results.
        formats: formats of label files.

    Raises:
        UsageError: a file would be overwritten, or two images would share a label file.
    """
    drawn: dict[Source, Path] = {}
    used: set[Path] = set()
    # Sources that keep their names come first: a.png is not renamed to a-2.png because a.gif is drawn to a.png.
    for source in sorted(sources, key=lambda source: _drawn_name(source).name != Path(source.name).name):
        first = folder / _drawn_name(source)
        path, number = first, 1
        while used & (taken := _taken(path, source)):
            number += 1
            path = first.with_stem(f'{first.stem}-{number}')
        used |= taken
        drawn[source] = path
    others = [DETECTIONS_FILE]
    if 'coco' in formats:
        others.append(COCO_FILE)
    if 'yolo' in formats:
        others.append(YOLO_FOLDER)
        _refuse_shared_labels(sources)
    if formats and any(source.is_video for source in sources):
        others.append(FRAMES_FOLDER)
    planned = [path for source in sources for path in sorted(_taken(drawn[source], source))]
    for path in [*planned, *(folder / other for other in others)]:
        if path.exists():
            raise UsageError(f'out={folder}: {path} exists and would be overwritten; choose another folder')
    return drawn


def _drawn_name(source: Source) -> PurePosixPath:
    name = PurePosixPath(source.name)
    if source.is_video:
        return name.with_suffix('.mp4')
    return name if name.suffix.lower() in IMAGE_SUFFIXES else name.with_suffix('.png')


def _taken(path: Path, source: Source) -> set[Path]:
    """Return the possible output files of a source; the kind of a video depends on its size."""
    return {path, path.with_suffix('.avi')} if source.is_video else {path}


def _refuse_shared_labels(sources: Sequence[Source]) -> None:
    images: dict[PurePosixPath, str] = {}
    for source in sources:
        label = PurePosixPath(source.name).with_suffix('.txt')
        if not source.is_video and label in images:
            raise UsageError(f'format=yolo: {images[label]} and {source.name} would share the label file {label}; '
                             'rename one of them')  # fmt: skip
        if not source.is_video:
            images[label] = source.name


class InferFiles:
    """Writes the detections of a stream image by image; nothing is created before the first. A context manager.

    Args:
        folder: folder of the results.
        drawn: from :func:`plan_files`.
        classes: names of all classes.
        formats: formats of label files.
        font: a font file for the class names; None: fonts of the system.

    Attributes:
        images: number of image files so far.
        videos: the videos and cameras so far.
        frames: number of their frames.
        objects: number of detections.
    """

    def __init__(
        self,
        folder: Path,
        drawn: dict[Source, Path],
        classes: Sequence[str],
        formats: Sequence[str],
        font: str | Path | None = None,
    ) -> None:
        self.folder, self.classes, self.font = folder, classes, font
        self.images = self.frames = self.objects = 0
        self.videos: dict[Source, Path] = {}
        self._drawn, self._formats = drawn, formats
        self._labels: list[_DetectionsFile | _CocoFile | _YoloFiles] = []
        self._video: VideoWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.ExitStack() as stack:  # closes all, even if one fails
            for labels in self._labels:
                stack.callback(labels.close)
            stack.callback(self._close_video)

    def add(self, frame: DetectedFrame) -> None:
        """Write an image with its detections.

        Raises:
            DataError, UsageError: it cannot be written; see :func:`~mmcnn.inference.images.write_image` and
                :class:`~mmcnn.inference.video.VideoWriter`.
        """
        if not self._labels:
            self._labels = self._opened()
        for labels in self._labels:
            labels.add(frame)
        self.objects += len(frame.found)
        self._draw(frame)

    def _opened(self) -> list[_DetectionsFile | _CocoFile | _YoloFiles]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f'out={self.folder}: the folder cannot be created: {error.strerror}') from error
        kinds = dict(coco=_CocoFile, yolo=_YoloFiles)
        chosen = [kinds[each](self.folder, self.classes) for each in dict.fromkeys(self._formats)]
        return [_DetectionsFile(self.folder), *chosen]

    def _draw(self, frame: DetectedFrame) -> None:
        found, path = frame.found, self._drawn[frame.source]
        drawn = draw_boxes(
            frame.image, found.boxes, found.labels, found.scores, self.classes, min_size=0, font=self.font
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        if not frame.source.is_video:
            self.images += 1
            write_image(path, drawn)
            return
        if frame.source not in self.videos:
            self._close_video()
            self._video = VideoWriter(path, drawn.shape[1::-1], frame.fps)
            self.videos[frame.source] = self._video.path
        self.frames += 1
        self._video.write(drawn)
        if self._formats:
            still = self.folder / FRAMES_FOLDER / f'{frame.name}.jpg'
            still.parent.mkdir(parents=True, exist_ok=True)
            write_image(still, frame.image)

    def _close_video(self) -> None:
        video, self._video = self._video, None
        if video is not None:
            video.close()


class _DetectionsFile:
    """detections.json, complete once it is closed."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / DETECTIONS_FILE).open('w', encoding='utf-8')
        self._start = '{'

    def add(self, frame: DetectedFrame) -> None:
        found = frame.found
        record = [
            dict(bbox=[round(x, 2) for x in box], score=round(score, 4), label=label, name=name)
            for box, score, label, name in zip(
                found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), found.names, strict=True
            )
        ]
        entry = json.dumps({frame.name: record}, indent=1, ensure_ascii=False)
        self._file.write(self._start + entry.removeprefix('{').removesuffix('\n}'))
        self._start = ','

    def close(self) -> None:
        with self._file:
            self._file.write('\n}\n')


class _CocoFile:
    """coco.json: an annotation file with images, categories (numbered from 1) and annotations with their scores."""

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self._path = folder / COCO_FILE
        self._coco: dict[str, list[dict[str, Any]]] = dict(
            images=[],
            categories=[dict(id=i, name=name) for i, name in enumerate(classes, start=1)],
            annotations=[],
        )

    def add(self, frame: DetectedFrame) -> None:
        images, annotations = self._coco['images'], self._coco['annotations']
        height, width = frame.image.shape[:2]
        number = len(images) + 1
        images.append(dict(id=number, file_name=_image_name(frame), width=width, height=height))
        for result in frame.found.as_coco(number):
            bbox = _rounded(result['bbox'], 2)
            if min(bbox[2:]) > 0:
                area = round(bbox[2] * bbox[3], 2)
                annotations.append(result | dict(id=len(annotations) + 1, bbox=bbox, area=area, iscrowd=0))

    def close(self) -> None:
        self._path.write_text(json.dumps(self._coco, ensure_ascii=False) + '\n', encoding='utf-8')


class _YoloFiles:
    """yolo/data.yaml, and a file in yolo/labels/ for each image with a line for each object: class, cx, cy, w, h."""

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self._folder = folder / YOLO_FOLDER
        self._folder.mkdir()
        settings = dict(train='images', names=dict(enumerate(classes)))
        text = (
            '# Put the images into images/, beside labels/. None are named for validation: mmcnn train draws some\n'
            '# with --val-fraction.\n'
        ) + yaml.safe_dump(settings, allow_unicode=True, sort_keys=False)
        (self._folder / 'data.yaml').write_text(text, encoding='utf-8')

    def add(self, frame: DetectedFrame) -> None:
        height, width = frame.image.shape[:2]
        lines = []
        for (x1, y1, x2, y2), label in zip(frame.found.boxes.tolist(), frame.found.labels.tolist(), strict=True):
            if x1 < x2 and y1 < y2:
                shares = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height
                lines.append(f'{label} ' + ' '.join(f'{share:.6f}' for share in shares) + '\n')
        path = self._folder / 'labels' / PurePosixPath(_image_name(frame)).with_suffix('.txt')
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(''.join(lines), encoding='utf-8')

    def close(self) -> None:
        """Do nothing: each file is already complete."""


def _image_name(frame: DetectedFrame) -> str:
    """Return the name of the image that the labels belong to, which is in frames/ for a frame of a video."""
    return f'{frame.name}.jpg' if frame.source.is_video else frame.name


def _rounded(bbox: Sequence[float], digits: int) -> list[float]:
    """Return a box x, y, w, h with rounded corners, so that it ends at the image border."""
    x, y, w, h = bbox
    x1, y1, x2, y2 = (round(value, digits) for value in (x, y, x + w, y + h))
    return [x1, y1, round(x2 - x1, digits), round(y2 - y1, digits)]
