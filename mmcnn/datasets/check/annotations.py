"""Checks of each entry of a COCO dict, without reading the images."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from mmcnn.datasets.folders.coco_entries import misnamed
from mmcnn.datasets.folders.findings import Finding
from mmcnn.datasets.folders.split import DataSplit

#: Number of pixels by which a box may exceed its image without a finding, because boxes are rounded.
MARGIN = 2
_LARGEST = 2**63


def check_annotations(split: DataSplit, bad_images: Collection[int] = ()) -> Iterator[Finding]:
    """Yield every fault in the categories, images and annotations of a split.

    Gaps between category ids, crowd boxes and images without annotations are not faults; neither is a missing ``area``,
    ``iscrowd``, width or height (:func:`~mmcnn.datasets.check.detector.check_data` fills them in).

    Args:
        split: The split to check.
        bad_images: Indices of images whose files are at fault: boxes are not compared with their sizes.
    """
    yield from _check_categories(split)
    yield from _check_ids(split, 'images')
    yield from _check_ids(split, 'annotations')
    for index, image in _with_id(split.coco['images']):
        for problem in _problems_of_image(image):
            yield _finding(split, 'bad image entry', 'images', index, f'image {image["id"]} {problem}')
    images = {  # the first of two with the same id
        image['id']: {} if index in bad_images else image
        for index, image in reversed(list(_with_id(split.coco['images'])))
    }
    categories = {category['id'] for _, category in _with_id(split.coco['categories'])}
    for index, annotation in _with_id(split.coco['annotations']):
        if _is_plain(annotation, images, categories):
            continue
        for kind, problem in _problems_of_annotation(annotation, images, categories):
            who = 'the box' if split.places else f'annotation {annotation["id"]}'
            yield _finding(split, kind, 'annotations', index, f'{who} {problem}')


def is_sized(image: dict) -> bool:
    """Return whether an image entry has its width and height in pixels."""
    return all(_is_positive(image.get(side)) for side in ('width', 'height'))


def is_box(box: object) -> bool:
    """Return whether a value consists of four finite numbers."""
    return isinstance(box, list) and len(box) == 4 and all(map(_is_finite, box))


def _check_categories(split: DataSplit) -> Iterator[Finding]:
    ids, names = set(), set()
    for index, category in enumerate(split.coco['categories']):
        if not _has_id(category):
            text = f'category entry {index} (counted from 0) has no integer id{_written(category)}'
            yield Finding('bad category', split.title, text, split=split.name)
            continue
        number, name = category['id'], category.get('name')
        if number in ids:
            problem = f'category id {number} is used twice'
        elif not isinstance(name, str) or not name:
            problem = f'category {number} has no name'
        elif name in names:
            problem = f'category {number} has the name of an earlier one, {name!r}'
        else:
            problem = None
        if problem:
            yield Finding('bad category', split.title, problem, number, split.name)
        ids.add(number)
        names.add(name if isinstance(name, str) else None)


def _check_ids(split: DataSplit, key: str) -> Iterator[Finding]:
    seen = set()
    for index, entry in enumerate(split.coco[key]):
        if not _has_id(entry):
            text = f'{key[:-1]} entry {index} (counted from 0) has no integer id of at least 0{_written(entry)}'
            yield _finding(split, 'bad id', key, index, text)
        elif entry['id'] in seen:
            yield _finding(split, 'duplicate id', key, index, f'{key[:-1]} id {entry["id"]} is used twice')
        else:
            seen.add(entry['id'])


def _problems_of_image(image: dict) -> Iterator[str]:
    name = image.get('file_name')
    if 'file_name' not in image and (cause := misnamed(image, 'file_name')):
        yield f'has no file_name: {cause}'
    elif not isinstance(name, str) or not name or '\0' in name:
        yield f'has file_name {name!r}'
    for side in ('width', 'height'):
        if image.get(side) is not None and not _is_positive(image[side]):
            yield f'has {side} {image[side]!r}; it must be a number of pixels'


def _is_plain(annotation: dict, images: dict, categories: set) -> bool:
    """Return True if a quick check shows that an annotation has no fault, as for most; False: check it in detail."""
    image_id, category_id = annotation.get('image_id'), annotation.get('category_id')
    box, area = annotation.get('bbox'), annotation.get('area')
    if type(image_id) is not int or type(category_id) is not int or type(box) is not list or len(box) != 4:
        return False
    image = images.get(image_id)
    if not image or category_id not in categories or annotation.get('iscrowd') not in (None, 0, 1):
        return False
    x, y, w, h = box
    width, height = image.get('width'), image.get('height')
    numbers = x, y, w, h, width, height, 1 if area is None else area
    if any(type(each) is not float and type(each) is not int for each in numbers):
        return False
    return (
        -MARGIN <= x < width < _LARGEST
        and -MARGIN <= y < height < _LARGEST
        and 1 <= w <= width + MARGIN - x
        and 1 <= h <= height + MARGIN - y
        and x + w > 0 < width
        and y + h > 0 < height
        and 0 < numbers[-1] < _LARGEST
    )


def _problems_of_annotation(annotation: dict, images: dict, categories: set) -> Iterator[tuple[str, str]]:
    """Yield kind and text of each fault."""
    image_id, category_id = annotation.get('image_id'), annotation.get('category_id')
    image = images.get(image_id) if _is_int(image_id) else None
    if image is None:
        yield 'unknown image', _has(annotation, 'image_id', 'which is not defined')
    if not _is_int(category_id) or category_id not in categories:
        yield 'unknown category', _has(annotation, 'category_id', 'which is not defined')
    if annotation.get('iscrowd') not in (None, 0, 1):
        yield 'bad iscrowd', f'has iscrowd {annotation["iscrowd"]!r}; it must be 0 or 1'
    box, area = annotation.get('bbox'), annotation.get('area')
    if not is_box(box):
        yield 'bad box', _has(annotation, 'bbox', 'it must be four finite numbers, x, y, width, height', ';')
        return
    shown = f'{[float(f"{side:.7g}") for side in box]}'
    if min(box[2:]) <= 0:
        yield 'box of zero area', f'has bbox {shown} without area; width and height must be positive'
        return
    if area is not None and not _is_positive(area):
        yield 'bad area', f'has area {area!r}; width times height is used instead'
    if min(box[2:]) < 1:
        yield 'box below a pixel', f'has bbox {shown}; training skips boxes narrower or lower than 1 px'
    if image is not None and is_sized(image):
        x, y, w, h = box
        width, height = image['width'], image['height']
        size = f'the image of {width} x {height} px, {image.get("file_name")}'
        if x >= width or y >= height or x + w <= 0 or y + h <= 0:
            yield 'box outside the image', f'has bbox {shown}, outside {size}'
        elif max(-x, -y, x + w - width, y + h - height) > MARGIN:
            yield 'box partly outside the image', f'has bbox {shown}, which leaves {size}; training clips it'


def _has(entry: dict, key: str, what: str, sign: str = ',') -> str:
    """Return the value of a key and its fault, or the other name under which the entry has it."""
    cause = '' if key in entry else misnamed(entry, key)
    return f'has no {key}: {cause}' if cause else f'has {key} {entry.get(key)!r}{sign} {what}'


def _finding(split: DataSplit, kind: str, key: str, index: int, text: str) -> Finding:
    place = split.places[index] if split.places and key == 'annotations' else split.title
    entry = split.coco[key][index]
    return Finding(kind, place, text, entry['id'] if _has_id(entry) else None, split.name, (key, index))


def _with_id(entries: list) -> Iterator[tuple[int, dict]]:
    return ((index, entry) for index, entry in enumerate(entries) if _has_id(entry))


def _written(entry: object) -> str:
    """Return the value that an entry has instead of an integer id, for a message."""
    value = entry.get('id') if isinstance(entry, dict) else None
    if not isinstance(value, str | float):
        return ''
    return f' but {value!r}, which is not unambiguously an integer'


def _has_id(entry: object) -> bool:
    return isinstance(entry, dict) and _is_int(entry.get('id')) and 0 <= entry['id'] < _LARGEST


def _is_int(value: object) -> bool:
    return type(value) is int  # excludes bool


def _is_finite(value: object) -> bool:
    return (_is_int(value) or isinstance(value, float)) and abs(value) < _LARGEST  # excludes NaN


def _is_positive(value: object) -> bool:
    return _is_finite(value) and value > 0
