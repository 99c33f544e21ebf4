"""Checks of all boxes of a split together: crowds, more objects than AP counts, formats other than COCO's."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from mmcnn.datasets.check.annotations import MARGIN, is_box, is_sized
from mmcnn.datasets.folders.findings import Finding, number
from mmcnn.datasets.folders.split import DataSplit

#: Maximum number of detections of a class in an image that COCO's AP counts.
MAX_DETECTIONS = 100
#: If at least this share and number of boxes exceed their images as x, y, width, height, they are considered
#: corners.
_LEAVING, _FEWEST = 0.25, 5


@dataclass(frozen=True)
class SizedBoxes:
    """The boxes of images with known sizes.

    Attributes:
        written: N boxes as in the file.
        values: (N, 4), the same as x, y, width and height in pixels.
        sizes: (N, 2), width and height of the image of each box.
    """

    written: list[Sequence[float]]
    values: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, split: DataSplit) -> SizedBoxes:
        """Return the boxes of a split."""
        sizes = {
            image['id']: (image['width'], image['height'])
            for image in split.coco['images']
            if _has_int(image, 'id') and is_sized(image)
        }
        boxes = [
            box
            for box in split.coco['annotations']
            if _has_int(box, 'image_id') and box['image_id'] in sizes and is_box(box.get('bbox'))
        ]
        written = [box['bbox'] for box in boxes]
        of_image = np.array([sizes[box['image_id']] for box in boxes], float).reshape(-1, 2)
        return cls(written, np.array(written, float).reshape(-1, 4), of_image)

    def __add__(self, other: SizedBoxes) -> SizedBoxes:
        values, sizes = ([getattr(each, name) for each in (self, other)] for name in ('values', 'sizes'))
        return SizedBoxes(self.written + other.written, np.concatenate(values), np.concatenate(sizes))

    def leaving(self) -> np.ndarray:
        """Return (N,) bool: whether a box, as x, y, width, height, exceeds its image by more than rounding."""
        return (self.values[:, :2] + self.values[:, 2:] > self.sizes + MARGIN).any(axis=1)

    def fit_as_corners(self) -> bool:
        """Return whether all boxes fit their images as x1, y1, x2, y2."""
        low, high = self.values[:, :2], self.values[:, 2:]
        return bool(((low >= 0) & (low < high) & (high <= self.sizes + MARGIN)).all())


def check_format(split: DataSplit, boxes: SizedBoxes) -> Iterator[Finding]:
    """Yield a finding if all boxes are fractions of the image's sides, with which training would be useless."""
    if not boxes.written or split.ann_file is None:  # readers of other formats know their units
        return
    if ((boxes.values >= 0) & (boxes.values <= 1)).all():
        text = (
            f'all {number(len(boxes.written), "box")} have values between 0 and 1, the first is {boxes.written[0]}: '
            'COCO format needs pixels, not fractions of the sides'
        )
        yield Finding('box format', split.title, text, split=split.name)


def check_corners(splits: Sequence[DataSplit], boxes: Sequence[SizedBoxes]) -> Iterator[Finding]:
    """Yield a finding if all boxes of all splits seem to be corners; in a small split, this may be a coincidence."""
    judged = [(split, own) for split, own in zip(splits, boxes, strict=True) if split.ann_file is not None]
    if not judged:
        return
    together = reduce(operator.add, (own for _, own in judged))
    if (text := _corners(together)) and np.count_nonzero(together.leaving()) >= _FEWEST:
        yield Finding('box format', ' and '.join(split.title for split, _ in judged), text)
        return
    for split, own in judged:
        if text := _corners(own):
            yield Finding('corners?', split.title, text, split=split.name)


def _corners(boxes: SizedBoxes) -> str:
    """Return a sentence about boxes that seem to be corners; '' if they do not."""
    leaving = np.flatnonzero(boxes.leaving())
    if len(leaving) < max(_LEAVING * len(boxes.written), 1) or not boxes.fit_as_corners():
        return ''
    return (
        f'the bbox values seem to be corners: all {number(len(boxes.written), "box")} fit their images as x1, y1, x2, '
        f"y2, but {len(leaving):,} of them exceed their images as COCO's x, y, width, height, the first is "
        f'{boxes.written[leaving[0]]}; use width and height, or clip boxes that exceed their images'
    )


def check_crowds(split: DataSplit) -> Iterator[Finding]:
    """Yield the number of crowd boxes, which some labelling tools write for single objects."""
    crowds, count = number_of_crowds(split.coco), len(split.coco['annotations'])
    if crowds:
        use = 'are not trained on' if split.name == 'train' else 'are not counted, detected or not'
        word, key = _crowd(split)
        text = f'{crowds:,} of {number(count, "box")} are {word} ({key} is 1) and {use}'
        yield Finding('crowd boxes', split.title, text, split=split.name)


def check_crowding(split: DataSplit) -> Iterator[Finding]:
    """Yield a finding about validation images with more objects of a class than AP counts detections."""
    if split.name != 'val':
        return
    counts = Counter(
        (box['image_id'], box['category_id'])
        for box in split.coco['annotations']
        if _has_int(box, 'image_id') and _has_int(box, 'category_id') and not box.get('iscrowd')
    )
    if text := beyond_the_limit(counts):
        yield Finding('objects beyond AP', split.title, text, split=split.name)


def beyond_the_limit(counts: dict[tuple[int, int], int]) -> str:
    """Return a sentence about the images with more than 100 objects of a class; '' if there are none.

    Args:
        counts: (image id, category id) -> number of objects that are not crowds.
    """
    beyond = {key: count for key, count in counts.items() if count > MAX_DETECTIONS}
    if not beyond:
        return ''
    images, classes = ({key[i] for key in beyond} for i in (0, 1))
    (image, category), most = max(beyond.items(), key=lambda item: item[1])
    return (
        f'{number(len(images), "image")} with more than {MAX_DETECTIONS} objects of a class '
        f'({number(len(classes), "class")}; the maximum is {most:,} of category {category}, in image {image}): AP '
        f'counts {MAX_DETECTIONS} detections of a class in an image, so it stays below 1 even if all objects are found'
    )


def number_of_crowds(coco: dict) -> int:
    """Return the number of boxes that are neither trained on nor counted in an evaluation."""
    return sum(isinstance(box, dict) and bool(box.get('iscrowd')) for box in coco['annotations'])


def all_crowds(split: DataSplit) -> str:
    """Return a message that only crowd boxes are left, and how to correct it."""
    word, key = _crowd(split)
    return f'all boxes are {word}; {key} must be 0 for a box of a single object'


def _crowd(split: DataSplit) -> tuple[str, str]:
    """Return the name of crowd boxes in the user's format, and the key that marks them."""
    return ('crowd', 'iscrowd') if split.ann_file is not None else ('difficult', 'difficult')


def _has_int(entry: object, key: str) -> bool:
    return isinstance(entry, dict) and type(entry.get(key)) is int
