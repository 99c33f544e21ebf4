"""Streams of images: folders, patterns, lists, videos and camera numbers, read one image at a time."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from mmcnn.errors import DataError, UsageError
from mmcnn.image_file import IMAGE_SUFFIXES
from mmcnn.inference import video
from mmcnn.inference.detections import Detections
from mmcnn.inference.images import SHOWN, read_image, refuse_address
from mmcnn.inference.other_files import OtherFiles

#: Suffix of a text file with the paths of images, one per line.
LIST_SUFFIX = '.txt'
#: Where ``mmcnn infer`` writes its results; a folder with it holds drawn images, not new ones.
DETECTIONS_FILE = 'detections.json'


@dataclass(frozen=True)
class Source:
    """An image file, a video file or a camera.

    Attributes:
        name: unique among the sources of a stream: the path below the given folder, or the file's name.
        path: the file; None: a camera.
        camera: number of the camera; None: a file.
        is_video: a video or a camera, which has any number of frames.
    """

    name: str
    path: Path | None = None
    camera: int | None = None
    is_video: bool = False

    def read(self, max_frames: int | None = None) -> Iterator[Frame]:
        """Yield its image, or its frames.

        Raises:
            DataError: it cannot be read, or not to the end.
            UsageError: there is no such camera.
        """
        if not self.is_video:
            yield Frame(self, read_image(self.path))
            return
        if self.camera is not None:
            frames = video.read_camera(self.camera, max_frames)
        else:
            frames = video.read_video(self.path, max_frames)
        with contextlib.closing(frames):
            for frame in frames:
                yield Frame(self, frame.image, frame.index, frame.time, frame.fps)


@dataclass(frozen=True, eq=False)
class Frame:
    """An image of a stream and its origin.

    Attributes:
        source: the file or camera.
        image: (H, W, 3) uint8 BGR.
        index: number of the frame in its video or since the start of the camera, from 0; None: an image file.
        time: seconds from the start of the video, or from the first frame of the camera; None: unknown.
        fps: frames per second of the video or camera; None: unknown.
    """

    source: Source
    image: np.ndarray = field(repr=False)
    index: int | None = None
    time: float | None = None
    fps: float | None = None

    @property
    def name(self) -> str:
        """Unique name in the stream: ``sub/a.jpg``, ``clip.mp4/000012``, ``camera0/000012``."""
        return self.source.name if self.index is None else f'{self.source.name}/{self.index:06}'

    @property
    def path(self) -> Path | None:
        """The image or video file; None: a camera."""
        return self.source.path


@dataclass(frozen=True, eq=False)
class DetectedFrame(Frame):
    """A frame with its detections.

    Attributes:
        found: the detections; ``frame.found.plot(frame.image)`` draws them.
    """

    found: Detections = field(kw_only=True)


@dataclass(frozen=True)
class Sources:
    """The sources that a stream reads.

    Attributes:
        sources: images, videos and cameras, in order.
        left_out: a sentence for each file in a folder that may be an image but is not read, and one for all others.
    """

    sources: tuple[Source, ...]
    left_out: tuple[str, ...] = ()

    def read(self, on_skip: Callable[[DataError], None], max_frames: int | None = None) -> Iterator[Frame]:
        """Yield all images, one after the other.

        Args:
            on_skip: is called for each file that cannot be read, or not to the end; the stream continues with the next.
            max_frames: maximum number of frames that are read of each video and camera; None: all.

        Raises:
            DataError: no file could be read at all.
            UsageError: there is no such camera.
        """
        read, errors = 0, []
        for source in self.sources:
            try:
                with contextlib.closing(source.read(max_frames)) as frames:
                    for frame in frames:
                        read += 1
                        yield frame
            except DataError as error:
                if len(self.sources) == 1 and not read:
                    raise
                errors.append(error)
                on_skip(error)
        if not read:
            raise DataError(f'none of the {len(self.sources)} files could be read; the first error: {errors[0]}')


def find_sources(named: str | os.PathLike | int | Sequence[str | os.PathLike | int]) -> Sources:
    """Find the given images, videos and cameras.

    Args:
        named: an image or video file; a folder, whose images and videos are read with those of its subfolders, sorted
            by name; a pattern (``'day*/*.jpg'``, ``'**/*.png'``); the number of a camera (``0`` or ``'0'``); a text
            file (``.txt``) with one path per line, relative to the current folder or to its own; or a list of these.
            In a folder, files are selected by their suffixes, and those with other suffixes (``.jfif``, ``.gif``,
            none) by their content; any file can be given directly. A folder of ``mmcnn infer``'s results inside
            another folder is not read.

    Raises:
        UsageError: a part of it does not exist, or there is nothing to read in it; an address on the network; a
            path in a list that exists in two places.
    """
    several = isinstance(named, list | tuple)
    found: dict[object, Source] = {}  # by path or camera, so that each is read once
    left_out: list[str] = []
    for each in named if several else [named]:
        for source in _sources_of(each, left_out):
            found.setdefault(source.camera if source.path is None else os.path.abspath(source.path), source)
    if not found:
        reasons = f'; {left_out[0]}' if left_out else ''
        raise UsageError(f'{_shown(named)} contains no images or videos that can be read{reasons}')
    return Sources(_uniquely_named(found), tuple(dict.fromkeys(left_out)))


def _sources_of(named: str | os.PathLike | int, left_out: list[str]) -> list[Source]:
    if isinstance(named, int | np.integer) and not isinstance(named, bool):
        return [_camera(int(named))]
    if not isinstance(named, str | os.PathLike):
        raise UsageError(f'a source of images must be a file, a folder, a pattern or the number of a camera, not a '
                         f'{type(named).__name__}; pass images in memory to the detector directly')  # fmt: skip
    text = os.fspath(named)
    if os.path.isdir(text):
        return _files_of(Path(text), left_out)
    if os.path.exists(text):
        return _listed(Path(text), left_out) if text.lower().endswith(LIST_SUFFIX) else [_file(Path(text))]
    if text.isdecimal():
        return [_camera(int(text))]
    refuse_address(text)
    if not glob.has_magic(text):
        raise UsageError(f'there is no image, video or folder {text}')
    paths = [Path(path) for path in sorted(glob.glob(text, recursive=True))]
    if not paths:
        raise UsageError(f'no file matches {text}')
    found: list[Source] = []
    others = OtherFiles(text)
    folders = {path for path in paths if path.is_dir()}
    for path in paths:
        if path in folders:
            found += _files_of(path, left_out)
        elif folders.isdisjoint(path.parents) and not others.is_plain(path):
            found.append(_file(path))
    left_out += others.lines()
    return found


def _camera(number: int) -> Source:
    if number < 0:
        raise UsageError(f'camera {number}: cameras are numbered from 0')
    return Source(f'camera{number}', camera=number, is_video=True)


def _file(path: Path) -> Source:
    """Return a file that was given directly: an image or a video by its suffix, else by its content."""
    suffix = path.suffix.lower()
    is_video = suffix in video.SUFFIXES or (suffix not in IMAGE_SUFFIXES and not cv2.haveImageReader(str(path)))
    return Source(path.name, path, is_video=is_video)


def _listed(path: Path, left_out: list[str]) -> list[Source]:
    """Return the files and folders that a text file lists, one path per line; missing ones go to ``left_out``."""
    try:
        lines = [line.strip() for line in path.read_text(encoding='utf-8-sig').splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        left_out.append(f'{path} cannot be read as a list of images, one path per line: {error}')
        return []
    lines = [line for line in lines if line]
    found: list[Source] = []
    missing = []
    for line in lines:
        refuse_address(line)
        places = [place for place in (Path(line), path.parent / line) if os.path.exists(place)]
        if len(places) == 2 and not places[0].samefile(places[1]):
            raise UsageError(f'{path} lists {line}, which exists in both the current folder and {path.parent}: give '
                             'the full path')  # fmt: skip
        if not places:
            missing.append(f'{path} lists {line[:SHOWN]}, which does not exist')
        elif places[0].is_dir():
            found += _files_of(places[0], left_out)
        else:
            found.append(_file(places[0]))
    if not found:
        first = f': its first line is {lines[0][:SHOWN]!r}, which does not exist' if lines else ': it is empty'
        missing = [f'{path} is not a list of images, one path per line{first}']
    left_out += missing
    return found


def _files_of(root: Path, left_out: list[str]) -> list[Source]:
    """Return the images and videos of a folder, sorted; reasons why others are not read go to ``left_out``."""
    sources, named, others = [], [], OtherFiles(root)
    for place, folders, names in os.walk(root):
        folder = Path(place)
        if folder != root and DETECTIONS_FILE in names:
            named.append(f'{folder} is not read: according to its {DETECTIONS_FILE}, it holds drawn images')
            folders.clear()
            continue
        links = [folder / name for name in folders if (folder / name).is_symlink()]
        named += [f'{link} is not read: it is a link to a folder' for link in links]
        for path in (folder / name for name in names):
            is_video = path.suffix.lower() in video.SUFFIXES
            if others.is_plain(path):
                continue
            if not path.exists():
                named.append(f'{path} is not read: it is a link to a file that does not exist')
            elif is_video or path.suffix.lower() in IMAGE_SUFFIXES or cv2.haveImageReader(str(path)):
                sources.append(Source(path.relative_to(root).as_posix(), path, is_video=is_video))
            else:
                named.append(f'{path} is not read: OpenCV cannot read it as an image, and its suffix is '
                             'not that of a video')  # fmt: skip
    left_out += [*sorted(named), *others.lines()]
    return sorted(sources, key=lambda source: source.path)


def _uniquely_named(found: dict[object, Source]) -> tuple[Source, ...]:
    """Return the sources by name; by their paths below a common folder if two names are equal."""
    sources = list(found.values())
    if len({source.name for source in sources}) == len(sources):
        return tuple(sources)
    paths = [os.path.abspath(source.path) for source in sources if source.path is not None]
    common = os.path.commonpath([os.path.dirname(path) for path in paths])
    return tuple(
        source
        if source.path is None
        else Source(Path(os.path.relpath(source.path, common)).as_posix(), source.path, is_video=source.is_video)
        for source in sources
    )


def _shown(named: object) -> str:
    return ', '.join(str(each) for each in named) if isinstance(named, list | tuple) else str(named)
