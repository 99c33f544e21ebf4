"""Facts about the images of a data folder: decoded once, on all cores, and cached on disk until the files change."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cv2
import PIL

from mmcnn.datasets.check.images import ImageFact, check_images, start_worker
from mmcnn.datasets.folders.cache_folder import cache_folder, one_at_a_time, write_cached
from mmcnn.engine import shared_memory
from mmcnn.errors import DataError

#: Number of images in one task of a process.
CHUNK = 16
#: Increase this number to invalidate all caches; a change of the decoders does, too.
_MADE_BY = [1, PIL.__version__, cv2.__version__]
_QUIET, _LINE_EVERY = 1.0, 10.0  # seconds


class ImageRecords:
    """Facts about images, cached by the path, size and modification time of their files.

    Processes that check the same folder wait for the one that decodes the images, and then read its results.

    Args:
        root: The data folder; each has its own cache file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        name = hashlib.sha256(os.path.abspath(root).encode(errors='replace')).hexdigest()[:16]
        self.file = cache_folder() / 'images' / f'{name}.json'
        self._facts: dict[str, ImageFact] = {}

    def facts(self, paths: Iterable[Path]) -> dict[Path, ImageFact]:
        """Return the facts about each image; new or changed files are decoded first.

        Raises:
            DataError: decoding ended a process, for example because memory was full.
        """
        paths = list(dict.fromkeys(paths))
        asked = [os.path.abspath(path) for path in paths]
        if any(path not in self._facts for path in asked):
            with one_at_a_time(self.file.with_suffix('.lock')):
                self._look_at([path for path in asked if path not in self._facts])
        return {path: self._facts[name] for path, name in zip(paths, asked, strict=True)}

    def sizes(self, paths: Iterable[Path]) -> dict[Path, tuple[int, int] | None]:
        """Return width and height of each image in pixels, as used in training; None for an unusable image.

        Raises:
            DataError: as in :meth:`facts`.
        """
        facts = self.facts(paths).items()
        return {path: (fact.width, fact.height) if fact.problem is None else None for path, fact in facts}

    def _look_at(self, paths: list[str]) -> None:
        known, stamps = self._read(), {path: _stamp(path) for path in paths}
        for path, stamp in stamps.items():
            entry = known.get(path)
            if stamp is None:
                self._facts[path] = check_images([path])[0]
            elif entry is not None and entry[0] == stamp:
                self._facts[path] = ImageFact(*entry[1])._replace(stored=tuple(entry[1][4]))
        new = [path for path in paths if path not in self._facts]
        if not new:
            return
        try:
            self._decode(new)
        finally:  # results before an interruption are kept
            done = [path for path in new if path in self._facts]
            known.update({path: [stamps[path], self._facts[path]] for path in done})
            content = json.dumps(dict(made_by=_MADE_BY, images=known)).encode()
            with contextlib.suppress(OSError):  # then the images are decoded again next time
                write_cached(self.file, content)

    def _decode(self, paths: list[str]) -> None:
        chunks = [paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK)]
        # Forking avoids importing everything again, and the children only decode.
        method = 'fork' if 'fork' in multiprocessing.get_all_start_methods() else 'spawn'
        progress = _Progress(len(paths))
        try:
            executor = ProcessPoolExecutor(
                min(_cores(), len(chunks)), multiprocessing.get_context(method), initializer=start_worker
            )
        except OSError as error:
            reason = shared_memory.refusal(error)
            raise DataError(f'{self.root}: cannot start processes that decode images: {reason}') from error
        try:
            for chunk, facts in zip(chunks, executor.map(check_images, chunks), strict=True):
                self._facts.update(zip(chunk, facts, strict=True))
                progress.add(len(chunk))
        except BrokenProcessPool as error:
            left = [path for path in paths if path not in self._facts]
            raise DataError(
                f'{self.root}: a process that decodes images was killed, perhaps because memory was full; it was at '
                f'one of the {len(left)} images from {left[0]} on'
            ) from error
        finally:
            progress.end()
            executor.shutdown(cancel_futures=True)

    def _read(self) -> dict[str, list]:
        """Return path -> [stamp, fact] as stored; empty if the file is missing, broken or of other decoders."""
        try:
            stored = json.loads(self.file.read_bytes())
            images = stored['images'] if stored['made_by'] == _MADE_BY else {}
            sound = all(len(stamp) == 2 and len(fact) == len(ImageFact._fields) for stamp, fact in images.values())
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}
        return images if sound else {}


class _Progress:
    """Shows progress on stderr: one overwritten line on a terminal, otherwise a line at intervals."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.start = total, 0, time.monotonic()
        self.overwrite = sys.stderr.isatty()
        self.next = self.start + (_QUIET if self.overwrite else _LINE_EVERY)

    def add(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now >= self.next:
            self.next = now + (0.2 if self.overwrite else _LINE_EVERY)
            self._say('\r' if self.overwrite else '', '' if self.overwrite else '\n')

    def end(self) -> None:
        """Print the final count, unless the check was too short for a progress line."""
        if time.monotonic() - self.start >= _QUIET:
            self._say('\r' if self.overwrite else '', '\n')

    def _say(self, before: str, after: str) -> None:
        print(f'{before}checked {self.done:,} of {self.total:,} images', end=after, file=sys.stderr, flush=True)


def _stamp(path: str) -> list[int] | None:
    """Return size and modification time (ns) of a file; None: it does not exist."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
