"""Checks of all boxes of a split together: crowds, more objects than are counted, another format than COCO's."""

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

#: Detections of a class in an image that COCO's AP counts.
MAX_DETECTIONS = 100
#: The share and number of boxes that leave their images as x, y, width, height, from which on they are taken for
#: corners.
_LEAVING, _FEWEST = 0.25, 5


@dataclass(frozen=True)
class SizedBoxes:
    """The boxes of images whose sizes are known.

    Attributes:
        written: N boxes as they are written.
        values: (N, 4), the same: x, y, width and height in pixels.
        sizes: (N, 2), width and height of the image of each.
    """

    written: list[Sequence[float]]
    values: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, split: DataSplit) -> SizedBoxes:
        """Those of a split."""
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
        """(N,) bool: as x, y, width, height a box is in part outside of its image, by more than rounding."""
        return (self.values[:, :2] + self.values[:, 2:] > self.sizes + MARGIN).any(axis=1)

    def fit_as_corners(self) -> bool:
        """All boxes fit their images as x1, y1, x2, y2."""
        low, high = self.values[:, :2], self.values[:, 2:]
        return bool(((low >= 0) & (low < high) & (high <= self.sizes + MARGIN)).all())


def check_format(split: DataSplit, boxes: SizedBoxes) -> Iterator[Finding]:
    """Boxes that are all shares of the image's sides: to train on them would teach nonsense."""
    if not boxes.written or split.ann_file is None:  # readers of other formats know what they read
        return
    if ((boxes.values >= 0) & (boxes.values <= 1)).all():
        text = (
            f'all {number(len(boxes.written), "box")} have values between 0 and 1, the first {boxes.written[0]}: COCO '
            'has pixels, not shares of the sides'
        )
        yield Finding('box format', split.title, text, split=split.name)


def check_corners(splits: Sequence[DataSplit], boxes: Sequence[SizedBoxes]) -> Iterator[Finding]:
    """Boxes that all seem to be corners, in all splits together: a small one may look so by chance."""
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
    """Return a sentence about boxes that seem to be corners; '' where they do not."""
    leaving = np.flatnonzero(boxes.leaving())
    if len(leaving) < max(_LEAVING * len(boxes.written), 1) or not boxes.fit_as_corners():
        return ''
    return (
        f'are bbox corners? All {number(len(boxes.written), "box")} fit their images as x1, y1, x2, y2, and '
        f"{len(leaving):,} of them leave their images as COCO's x, y, width, height, the first is "
        f'{boxes.written[leaving[0]]}; write width and height, or clip those that leave their images'
    )


def check_crowds(split: DataSplit) -> Iterator[Finding]:
    """Yield how many boxes are crowd, which some labelling tools make of single objects."""
    crowds, count = number_of_crowds(split.coco), len(split.coco['annotations'])
    if crowds:
        use = 'are not trained on' if split.name == 'train' else 'are not counted, whether they are found or not'
        word, key = _crowd(split)
        text = f'{crowds:,} of {number(count, "box")} are {word} ({key} is 1) and {use}'
        yield Finding('crowd boxes', split.title, text, split=split.name)


def check_crowding(split: DataSplit) -> Iterator[Finding]:
    """Images to validate on with more objects of a class than AP counts detections of."""
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
    """Return a sentence about the images that have more than 100 objects of a class; '' if there are none.

    Args:
        counts: (image id, category id) -> number of objects that are no crowds.
    """
    beyond = {key: count for key, count in counts.items() if count > MAX_DETECTIONS}
    if not beyond:
        return ''
    images, classes = ({key[i] for key in beyond} for i in (0, 1))
    (image, category), most = max(beyond.items(), key=lambda item: item[1])
    return (
        f'{number(len(images), "image")} with more than {MAX_DETECTIONS} objects of a class '
        f'({number(len(classes), "class")}; the most, {most:,} of category {category}, in image {image}): AP counts '
        f'{MAX_DETECTIONS} detections of a class in an image, so that it stays below 1 even if all objects are found'
    )


def number_of_crowds(coco: dict) -> int:
    """Boxes that are neither trained on nor counted in an evaluation."""
    return sum(isinstance(box, dict) and bool(box.get('iscrowd')) for box in coco['annotations'])


def all_crowds(split: DataSplit) -> str:
    """Return a message that only crowd boxes are left, and how to correct it."""
    word, key = _crowd(split)
    return f'all boxes are {word}; {key} has to be 0 where a box is of one object'


def _crowd(split: DataSplit) -> tuple[str, str]:
    """Return what a crowd box is called in the user's files, and the key that makes it one."""
    return ('crowd', 'iscrowd') if split.ann_file is not None else ('difficult', 'difficult')


def _has_int(entry: object, key: str) -> bool:
    return isinstance(entry, dict) and type(entry.get(key)) is int
