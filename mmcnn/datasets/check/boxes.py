"""What the boxes of a split are like as a whole: crowds, more objects than are counted, another format than COCO's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from mmcnn.datasets.check.annotations import MARGIN, is_box, is_sized
from mmcnn.datasets.folders.findings import Finding, number
from mmcnn.datasets.folders.split import DataSplit

#: x, y, width and height of a box, and the width and height of its image, all in pixels.
SizedBox = tuple[Sequence[float], int, int]
#: Detections of a class in an image that COCO's AP counts.
MAX_DETECTIONS = 100
#: The share and number of boxes that leave their images as x, y, width, height, from which on they are taken for
#: corners.
_LEAVING, _FEWEST = 0.25, 5


def check_format(split: DataSplit) -> Iterator[Finding]:
    """Boxes that are all shares of the image's sides: to train on them would teach nonsense."""
    boxes = _sized_boxes(split)
    if not boxes or split.ann_file is None:  # readers of other formats know what they read
        return
    if all(min(box) >= 0 and max(box) <= 1 for box, _, _ in boxes):
        text = (
            f'all {number(len(boxes), "box")} have values between 0 and 1, the first {boxes[0][0]}: COCO has '
            'pixels, not shares of the sides'
        )
        yield Finding('box format', split.title, text, split=split.name)


def check_corners(splits: Sequence[DataSplit]) -> Iterator[Finding]:
    """Boxes that all seem to be corners, in all splits together: a small one may look so by chance."""
    judged = [split for split in splits if split.ann_file is not None]
    boxes = [box for split in judged for box in _sized_boxes(split)]
    if (text := _corners(boxes)) and sum(_leaves(*each) for each in boxes) >= _FEWEST:
        yield Finding('box format', ' and '.join(split.title for split in judged), text)
        return
    for split in judged:
        if text := _corners(_sized_boxes(split)):
            yield Finding('corners?', split.title, text, split=split.name)


def _corners(boxes: Sequence[SizedBox]) -> str:
    """A sentence about boxes that seem to be corners; '' where they do not."""
    leaving = [box for box, width, height in boxes if _leaves(box, width, height)]
    fit = all(
        0 <= x < right <= width + MARGIN and 0 <= y < low <= height + MARGIN
        for (x, y, right, low), width, height in boxes
    )
    if not fit or len(leaving) < max(_LEAVING * len(boxes), 1):
        return ''
    return (
        f'are bbox corners? All {number(len(boxes), "box")} fit their images as x1, y1, x2, y2, and {len(leaving):,} '
        f"of them leave their images as COCO's x, y, width, height, the first is {leaving[0]}; write width and height, "
        'or clip those that leave their images'
    )


def _leaves(box: Sequence[float], width: int, height: int) -> bool:
    """Whether x, y, width, height is in part outside of an image, by more than rounding."""
    return box[0] + box[2] > width + MARGIN or box[1] + box[3] > height + MARGIN


def _sized_boxes(split: DataSplit) -> list[SizedBox]:
    images = {image['id']: image for image in split.coco['images'] if _has_int(image, 'id') and is_sized(image)}
    return [
        (box['bbox'], images[box['image_id']]['width'], images[box['image_id']]['height'])
        for box in split.coco['annotations']
        if _has_int(box, 'image_id') and box['image_id'] in images and is_box(box.get('bbox'))
    ]


def check_crowds(split: DataSplit) -> Iterator[Finding]:
    """How many boxes are crowd, which some labelling tools make of single objects."""
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
    """A sentence about the images that have more than 100 objects of a class; '' if there are none.

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
    """That nothing but crowd boxes is left, and what to do about it."""
    word, key = _crowd(split)
    return f'all boxes are {word}; {key} has to be 0 where a box is of one object'


def _crowd(split: DataSplit) -> tuple[str, str]:
    """What a crowd box is called in the user's files, and the key that makes it one."""
    return ('crowd', 'iscrowd') if split.ann_file is not None else ('difficult', 'difficult')


def _has_int(entry: object, key: str) -> bool:
    return isinstance(entry, dict) and type(entry.get(key)) is int
