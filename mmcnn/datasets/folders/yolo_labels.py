"""Label files of a YOLO data folder: finding them, reading them line by line, and recognising their variants."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmcnn.datasets.folders.file_names import shown
from mmcnn.datasets.folders.findings import Finding, number
from mmcnn.datasets.folders.split import DataSplit
from mmcnn.nearest import nearest

#: Coordinates beyond this cannot be explained by rounding or by boxes that exceed their image.
_MOST = 2.0
_TAKES = 'is not a class, counted from 0, and 4 numbers or a polygon of at least 3 points'


class _NoLabelError(ValueError):
    """A line that is not a label; the message is the rest of a sentence about it."""


def label_places(image: Path) -> list[Path]:
    """Return the possible label files of an image: ``labels/`` replaces the last ``images/``, or beside the image."""
    parts = list(image.parts)
    last = next((i for i in reversed(range(len(parts) - 1)) if parts[i].lower() == 'images'), None)
    beside = image.with_suffix('.txt')
    if last is None:
        return [beside]
    words = dict.fromkeys(('labels', 'Labels' if parts[last].istitle() else 'labels'))
    return [Path(*parts[:last], word, *parts[last + 1 :]).with_suffix('.txt') for word in words] + [beside]


class LabelReader:
    """Adds the boxes of images to a split, and reports corrections at the end.

    Args:
        split: Gets annotations, their places, and findings.
        names: Names of the classes.
    """

    def __init__(self, split: DataSplit, names: Sequence[str]) -> None:
        self.split = split
        self.numbers = {name: i for i, name in enumerate(names)}
        self.unlabelled: list[Path] = []
        self.doubled: list[tuple[Path, Path]] = []
        self.variants: dict[str, list[str]] = {}

    def read(self, image: dict, file: Path) -> None:
        """Read the label file of an image; boxes of an image with unknown size are skipped."""
        there = [place for place in label_places(file) if os.path.isfile(place)]
        if file.is_relative_to(self.split.root):  # a folder images/ above the data folder does not count
            there.sort(key=lambda place: not place.is_relative_to(self.split.root))
        if not there:
            self.unlabelled.append(file)
            return
        if any(_content(there[0]) != _content(other) for other in there[1:]):
            self.doubled.append((there[0], there[1]))
        if 'width' not in image:
            return
        where = shown(there[0], self.split.root)
        try:
            lines = there[0].read_text(encoding='utf-8-sig').splitlines()
        except (OSError, UnicodeDecodeError) as error:
            self._add(where, f'cannot be read: {getattr(error, "strerror", None) or "it is not UTF-8 text"}')
            return
        for index, line in enumerate(lines, start=1):
            if line.strip():
                self._read_line(image, line.strip(), f'{where}:{index}')

    def finish(self, files: Sequence[Path]) -> None:
        """Report the number of images without label files, and the number of lines of each variant."""
        split = self.split
        split.unlabelled = {shown(file, split.root) for file in self.unlabelled}
        if self.unlabelled:
            first = self.unlabelled[0]
            places = ' or '.join(shown(place, split.root) for place in label_places(first))
            text = (
                f'no label file for {len(self.unlabelled)} of {number(len(files), "image")}, which are used without '
                f'objects, the first is {shown(first, split.root)}, which has no {places}'
            )
            split.findings.append(Finding('read as', split.title, text, split=split.name))
        if self.doubled:
            read, other = (shown(path, split.root) for path in self.doubled[0])
            text = (
                f'{number(len(self.doubled), "image")} with two label files that differ: {read} is used, {other} is not'
            )
            split.findings.append(Finding('read as', split.title, text, split=split.name))
        for variant, places in self.variants.items():
            text = f'{number(len(places), "line")} with {variant}, the first is {places[0]}'
            split.findings.append(Finding('read as', split.title, text, split=split.name))

    def _read_line(self, image: dict, line: str, place: str) -> None:
        variants: list[str] = []
        try:
            category, box = self._parse(line, image['width'], image['height'], variants)
        except _NoLabelError as error:
            self._add(place, f'"{line[:60]}" {error}')
            return
        for variant in variants:
            self.variants.setdefault(variant, []).append(place)
        split = self.split
        split.coco['annotations'].append(
            dict(id=len(split.places), image_id=image['id'], category_id=category, bbox=box, iscrowd=0)
        )
        split.places.append(place)

    def _add(self, place: str, text: str) -> None:
        self.split.findings.append(Finding('unreadable annotation', place, text, split=self.split.name))

    def _parse(self, line: str, width: int, height: int, variants: list[str]) -> tuple[int, list[float]]:
        """Return class and box (x, y, width, height in pixels) of a line.

        Raises:
            _NoLabelError: It is not a label.
        """
        words = _words(line, variants)
        category, words = self._class_of(words, variants)
        try:
            values = [float(word) for word in words]
        except ValueError:
            raise _NoLabelError(_TAKES) from None
        if len(values) == 5:
            if not 0 <= values[4] <= 1:
                raise _NoLabelError('has a number after its box that is not a score from 0 to 1')
            variants.append('a sixth number, read as a score and ignored')
            values.pop()
        if max(map(abs, filter(math.isfinite, values)), default=0) > _MOST:
            raise _NoLabelError(
                'has values above 1, perhaps pixels; YOLO format needs fractions of the width and height'
            )
        if len(values) == 4:
            x, y, w, h = values
            return category, [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
        if len(values) < 6 or len(values) % 2 or not all(map(math.isfinite, values)):
            raise _NoLabelError(_TAKES)
        xs, ys = values[::2], values[1::2]
        left, top = min(xs) * width, min(ys) * height
        return category, [left, top, max(xs) * width - left, max(ys) * height - top]

    def _class_of(self, words: list[str], variants: list[str]) -> tuple[int, list[str]]:
        """Return the class of a line and the words after it."""
        try:
            category = float(words[0])
        except ValueError:
            return self._named_class(words, variants)
        if not math.isfinite(category) or category != int(category) or category < 0:
            raise _NoLabelError(_TAKES)
        return int(category), words[1:]

    def _named_class(self, words: list[str], variants: list[str]) -> tuple[int, list[str]]:
        for length in range(len(words) - 1, 0, -1):  # names may have several words
            if (name := ' '.join(words[:length])) in self.numbers:
                variants.append('the name of a class instead of its number')
                return self.numbers[name], words[length:]
        name = ' '.join(word for word in words if not _is_number(word))
        raise _NoLabelError(f'{_TAKES}; no class has the name {name!r}, {nearest(name, self.numbers)}')


def classes_from_one(splits: Sequence[DataSplit]) -> Iterator[Finding]:
    """Yield a finding if label files count classes from 1: the last one has no name, and 0 is never used.

    A name could also be missing, so such labels are refused: otherwise every class might be wrong.
    """
    if any(split.unlabelled is None for split in splits):
        return
    count = len(splits[0].coco['categories'])
    used = {each['category_id'] for split in splits for each in split.coco['annotations']}
    if used and min(used) >= 1 and max(used) == count:
        text = (
            f'class ids run from {min(used)} to {count}, but YOLO counts from 0: those of the {number(count, "name")} '
            f'are 0 to {count - 1}; subtract 1 from each id, or add the name of class {count}'
        )
        yield Finding('bad category', splits[0].title.partition(' (')[0], text)


def _words(line: str, variants: list[str]) -> list[str]:
    """Return the words of a line, separated by spaces, tabs or commas.

    Raises:
        _NoLabelError: Its commas may be decimal points.
    """
    if ',' not in line:
        return line.split()
    inside = [word.strip(',') for word in line.split() if ',' in word.strip(',')]
    if not all('.' in word for word in inside):
        raise _NoLabelError(
            'has commas that may be decimal points; YOLO format has numbers such as 0.5, separated by spaces'
        )
    variants.append('commas between numbers')
    return line.replace(',', ' ').split()


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b''
