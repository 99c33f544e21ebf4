"""A user's own data: a folder in COCO format, checked before anything is trained on it."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LAYOUT = 'a data folder holds train.json and val.json (COCO format) and images/'
_SHOWN = 5


class DataError(ValueError):
    """Data that cannot be trained on; the message says where and what."""


@dataclass(frozen=True)
class CocoFolder:
    """A data folder that passed :func:`read_coco_folder`.

    Attributes:
        root: The folder.
        classes: Category names, in the order of the files; label i is ``classes[i]``.
        num_train: Number of images in train.json.
        num_val: Number of images in val.json.
    """

    root: Path
    classes: tuple[str, ...]
    num_train: int
    num_val: int

    @property
    def train_ann_file(self) -> Path:
        """train.json."""
        return self.root / 'train.json'

    @property
    def val_ann_file(self) -> Path:
        """val.json."""
        return self.root / 'val.json'

    @property
    def image_prefix(self) -> Path:
        """The folder that the ``file_name`` entries are relative to."""
        return self.root / 'images'


def read_coco_folder(path: str | Path) -> CocoFolder:
    """Reads and checks a folder with train.json, val.json (COCO format) and images/.

    The annotation files are checked entry by entry; of the images only that the files exist. Gaps between category
    ids, crowd annotations, images without annotations and a single class are fine.

    Args:
        path: The folder.

    Returns:
        The folder with its classes and numbers of images.

    Raises:
        DataError: If something is missing, unreadable or contradictory. Mistakes in the annotations are reported
            together: the first five, one a line, and their number.
    """
    root = Path(path)
    if not root.is_dir():
        state = 'is not a folder' if root.exists() else 'does not exist'
        raise DataError(f'{root} {state}; {_LAYOUT}')
    if (root / 'train').is_dir() and not (root / 'train.json').exists():
        raise DataError(f'{root} holds train/ and no train.json: it looks like the data folder of a classifier, this '
                        f'config trains a detector; {_LAYOUT}')  # fmt: skip
    for name in ('train.json', 'val.json', 'images'):
        if not (root / name).exists():
            raise DataError(f'{root / name} does not exist; {_LAYOUT}')
    if not (root / 'images').is_dir():
        raise DataError(f'{root / "images"} is not a folder; {_LAYOUT}')

    train, val = _read(root / 'train.json'), _read(root / 'val.json')
    mistakes = [
        f'{name}: {mistake}' for name, coco in (('train.json', train), ('val.json', val)) for mistake in _mistakes(coco)
    ]
    if mistakes:
        raise DataError(_together(f'{root}: {_count(len(mistakes), "mistake")} in the annotations', mistakes))
    classes, val_classes = (tuple(each['name'] for each in coco['categories']) for coco in (train, val))
    if classes != val_classes:
        raise DataError(f'{root}: train.json and val.json {_difference(classes, val_classes)}')
    names = dict.fromkeys(each['file_name'] for coco in (train, val) for each in coco['images'])
    missing = [name for name in names if not (root / 'images' / name).is_file()]
    if missing:
        raise DataError(
            _together(f'{root / "images"}: {len(missing)} of {_count(len(names), "image file")} missing', missing)
        )
    return CocoFolder(root, classes, num_train=len(train['images']), num_val=len(val['images']))


def _read(path: Path) -> dict:
    """The COCO dict in ``path`` with its three lists, not yet looked into."""
    try:
        coco = json.loads(path.read_text(encoding='utf-8'))
    except json.JSONDecodeError as error:
        raise DataError(f'{path} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}') from error
    except UnicodeDecodeError as error:
        raise DataError(f'{path} is not UTF-8 text: {error.reason} at byte {error.start}') from error
    except OSError as error:
        raise DataError(f'{path} cannot be read: {error.strerror}') from error
    keys = ('images', 'annotations', 'categories')
    if not isinstance(coco, dict):
        raise DataError(f'{path} holds a JSON {type(coco).__name__}; COCO format is an object with {", ".join(keys)}')
    absent = [key for key in keys if not isinstance(coco.get(key), list)]
    if absent:
        raise DataError(f'{path} has no list of {", ".join(absent)}; COCO format has {", ".join(keys)}')
    for key in ('images', 'categories'):
        if not coco[key]:
            raise DataError(f'{path} has no {key}: its list is empty')
    return coco


def _mistakes(coco: dict) -> Iterator[str]:
    """One line for each mistake in the entries of a COCO dict."""
    yield from _mistakes_of_ids('category', coco['categories'])
    yield from _mistakes_of_ids('image', coco['images'])
    yield from _mistakes_of_ids('annotation', coco['annotations'])

    names = set()
    for category in filter(_has_id, coco['categories']):
        name = category.get('name')
        if not isinstance(name, str) or not name:
            yield f'category {category["id"]} has no name'
        elif name in names:
            yield f'category {category["id"]} has the name of an earlier one, {name!r}'
        names.add(name if isinstance(name, str) else None)

    for image in filter(_has_id, coco['images']):
        if not isinstance(image.get('file_name'), str) or not image['file_name']:
            yield f'image {image["id"]} has no file_name'
        for side in ('width', 'height'):
            if not _is_positive(image.get(side)):
                yield f'image {image["id"]} has {side} {image.get(side)}; it takes a number of pixels'

    image_ids = {image['id'] for image in filter(_has_id, coco['images'])}
    category_ids = {category['id'] for category in filter(_has_id, coco['categories'])}
    for annotation in filter(_has_id, coco['annotations']):
        who = f'annotation {annotation["id"]}'
        for key, known in (('image_id', image_ids), ('category_id', category_ids)):
            if not _is_int(annotation.get(key)) or annotation[key] not in known:
                yield f'{who} has {key} {annotation.get(key)!r}, which the file does not define'
        box = annotation.get('bbox')
        if not isinstance(box, list) or len(box) != 4 or not all(_is_finite(side) for side in box):
            yield f'{who} has bbox {box!r}; it takes four finite numbers, x, y, width, height'
        elif min(box[2:]) <= 0:
            yield f'{who} has bbox {box}, of no area; width and height must be positive'
        if not _is_positive(annotation.get('area')):
            yield f'{who} has area {annotation.get("area")!r}; it takes a positive number of square pixels'


def _mistakes_of_ids(kind: str, entries: list) -> Iterator[str]:
    seen = set()
    for index, entry in enumerate(entries):
        if not _has_id(entry):
            yield f'{kind} entry {index} (counted from 0) has no integer id'
        elif entry['id'] in seen:
            yield f'{kind} id {entry["id"]} is used twice'
        else:
            seen.add(entry['id'])


def _has_id(entry: object) -> bool:
    return isinstance(entry, dict) and _is_int(entry.get('id'))


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: object) -> bool:
    return (_is_int(value) or isinstance(value, float)) and math.isfinite(value)


def _is_positive(value: object) -> bool:
    return _is_finite(value) and value > 0


def _difference(train: tuple[str, ...], val: tuple[str, ...]) -> str:
    """How two different tuples of category names differ, as the rest of a sentence."""
    parts = [
        f'only {file} has {", ".join(map(repr, only))}'
        for file, only in (
            ('train.json', [name for name in train if name not in val]),
            ('val.json', [name for name in val if name not in train]),
        )
        if only
    ]
    if parts:
        return f'have different categories: {"; ".join(parts)}'
    return f'have the same categories in different order: {", ".join(train)} against {", ".join(val)}'


def _together(title: str, lines: list[str]) -> str:
    shown = [f'  {line}' for line in lines[:_SHOWN]]
    if len(lines) > _SHOWN:
        shown.append(f'  and {len(lines) - _SHOWN} more')
    return '\n'.join([f'{title}:', *shown])


def _count(number: int, noun: str) -> str:
    return f'{number} {noun}' if number == 1 else f'{number} {noun}s'
