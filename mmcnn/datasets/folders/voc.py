"""A user's own data as Pascal VOC has it: JPEGImages/, Annotations/ with an XML file each, ImageSets/Main/."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

from mmcnn.datasets.folders.findings import Finding
from mmcnn.datasets.folders.split import DataSplit
from mmcnn.errors import DataError
from mmcnn.nearest import nearest

_SETS = Path('ImageSets') / 'Main'
#: The sets to train and to validate on: the first pair that is there.
_PAIRS = (('train', 'val'), ('trainval', 'test'))


def is_voc_folder(root: Path) -> bool:
    """The folders of images and of annotations are there."""
    return (root / 'JPEGImages').is_dir() and (root / 'Annotations').is_dir()


def read_voc_folder(root: Path, name: str) -> DataSplit:
    """Reads one split: the images in train.txt or val.txt, or where one is missing in trainval.txt or test.txt.

    Classes are the names in the training split, sorted. Corners count pixels from 1 and belong to the box; an object
    that is ``difficult`` becomes a crowd box, which is neither trained on nor counted against a detector.

    Args:
        root: The data folder.
        name: 'train' or 'val'.

    Raises:
        DataError: There are no such sets of images.
    """
    pair = next((pair for pair in _PAIRS if all((root / _SETS / f'{each}.txt').is_file() for each in pair)), None)
    if pair is None:
        raise DataError(f'{root / _SETS} has neither train.txt and val.txt nor trainval.txt and test.txt')
    read = {each: _read_set(root, _SETS / f'{chosen}.txt') for each, chosen in zip(('train', 'val'), pair, strict=True)}
    classes = sorted({word for _, tree, _ in read['train'] for word in _names(tree)})
    numbers = {word: i for i, word in enumerate(classes)}
    coco = dict(images=[], annotations=[], categories=[dict(id=i, name=word) for word, i in numbers.items()])
    title = (_SETS / f'{pair[name == "val"]}.txt').as_posix()
    split = DataSplit(name, title, root, 'JPEGImages/', coco, places=[], changed=True)
    files = {path.stem: path.name for path in sorted((root / 'JPEGImages').iterdir(), reverse=True)}
    for number, (stem, tree, problem) in enumerate(read[name]):
        place = f'Annotations/{stem}.xml'
        if tree is None:
            split.findings.append(Finding('unreadable annotation', place, problem, split=name))
            continue
        image = dict(id=number, file_name=files.get(stem, f'{stem}.jpg'))
        size = [_number(tree.find(f'size/{side}')) for side in ('width', 'height')]
        if all(size):  # some tools write 0
            image.update(width=int(size[0]), height=int(size[1]))
        coco['images'].append(image)
        for index, thing in enumerate(tree.findall('object'), start=1):
            _add_box(split, image, thing, numbers, f'{place}, object {index}')
    return split


def _read_set(root: Path, title: Path) -> list[tuple[str, ElementTree.Element | None, str]]:
    """Name, annotations and, where those cannot be read, what is wrong with them, of each image of a set."""
    lines = (root / title).read_text(encoding='utf-8-sig', errors='replace').splitlines()
    stems = dict.fromkeys(line.strip() for line in lines if line.strip())
    return [(stem, *_read_tree(root / 'Annotations' / f'{stem}.xml')) for stem in stems]


def _read_tree(path: Path) -> tuple[ElementTree.Element | None, str]:
    try:
        content = path.read_bytes()
        if b'<!DOCTYPE' in content:  # its entities could stand for gigabytes
            return None, 'has a document type, which is not read'
        return ElementTree.fromstring(content), ''
    except FileNotFoundError:
        return None, 'does not exist'
    except OSError as error:
        return None, f'cannot be read: {error.strerror}'
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # an unknown encoding, for one
        return None, f'is not valid XML: {error}'


def _names(tree: ElementTree.Element | None) -> list[str]:
    found = [] if tree is None else [thing.findtext('name', '').strip() for thing in tree.findall('object')]
    return [name for name in found if name]


def _add_box(split: DataSplit, image: dict, thing: ElementTree.Element, numbers: dict[str, int], place: str) -> None:
    name = thing.findtext('name', '').strip()
    corners = [_number(thing.find(f'bndbox/{side}')) for side in ('xmin', 'ymin', 'xmax', 'ymax')]
    if not name or None in corners:
        text = f'has the name {name!r} and corners {corners}; it takes name, xmin, ymin, xmax, ymax'
        split.findings.append(Finding('unreadable annotation', place, text, split=split.name))
        return
    if name not in numbers:
        text = f'has the class {name!r}, which no object to train on has; {nearest(name, numbers)}'
        split.findings.append(Finding('unknown category', place, text, split=split.name))
        return
    left, top, right, bottom = corners
    split.coco['annotations'].append(
        dict(
            id=len(split.places), image_id=image['id'], category_id=numbers[name],
            bbox=[left - 1, top - 1, right - left + 1, bottom - top + 1],
            iscrowd=int(thing.findtext('difficult', '0').strip() == '1'),
        )
    )  # fmt: skip
    split.places.append(place)


def _number(element: ElementTree.Element | None) -> float | None:
    try:
        number = float(element.text)
    except (AttributeError, TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
