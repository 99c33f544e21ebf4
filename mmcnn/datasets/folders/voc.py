"""Users' data in Pascal VOC's layout: JPEGImages/, Annotations/ with one XML file per image, ImageSets/Main/."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

from mmcnn.datasets.folders.findings import Finding
from mmcnn.datasets.folders.split import DataSplit
from mmcnn.datasets.folders.voc_sets import FOLDER, VocImage, choose_set, read_set
from mmcnn.errors import DataError
from mmcnn.nearest import nearest


def is_voc_folder(root: Path) -> bool:
    """Return whether the folders of images and annotations exist."""
    return (root / 'JPEGImages').is_dir() and (root / 'Annotations').is_dir()


def has_voc_val(root: Path) -> bool:
    """Return whether there is a set of validation images."""
    return choose_set(root, 'val') is not None


def read_voc_folder(root: Path, name: str) -> DataSplit:
    """Read one split: the images in train.txt or val.txt, or if one is missing in trainval.txt or test.txt.

    A single set with another name, or all annotations if there are no sets, is the training data. Classes are the
    sorted names in the training split. Corners count pixels from 1 and are inclusive; ``difficult`` objects become
    crowd boxes, which are neither trained on nor counted against a detector.

    Args:
        root: The data folder.
        name: 'train' or 'val'.

    Raises:
        DataError: There are no such sets of images.
    """
    chosen = choose_set(root, name)
    if chosen is None:
        raise DataError(f'{root / FOLDER} has no {"training" if name == "train" else "validation"} set: it needs '
                        'train.txt and val.txt, or trainval.txt and test.txt')  # fmt: skip
    sets = {name: read_set(root, chosen, name)}
    if name != 'train' and (other := choose_set(root, 'train')):
        sets['train'] = read_set(root, other, 'train')
    trees = {each: [(image, *_read_tree(root, image)) for image in images.images] for each, images in sets.items()}
    classes = sorted({word for _, tree, _ in trees.get('train', trees[name]) for word in _names(tree)})
    numbers = {word: i for i, word in enumerate(classes)}
    coco = dict(images=[], annotations=[], categories=[dict(id=i, name=word) for word, i in numbers.items()])
    split = DataSplit(name, chosen.title, root, 'JPEGImages/', coco, places=[], changed=True,
                      findings=sets[name].findings)  # fmt: skip
    taken = {entry.image for entry, _, _ in trees[name] if not entry.problem}
    for number, (entry, tree, problem) in enumerate(trees[name]):
        place = f'Annotations/{entry.annotation}'
        if tree is None:
            split.findings.append(Finding('unreadable annotation', place, problem, split=name))
            continue
        image = dict(id=number, file_name=entry.image)
        if entry.problem:
            named = Path(entry.image).with_name(Path(tree.findtext('filename', '').replace('\\', '/')).name or '_')
            if (
                named.as_posix() not in taken and (root / 'JPEGImages' / named).is_file()
            ):  # of x.jpg and x.png, the one in the annotations
                image['file_name'] = named.as_posix()
                taken.add(named.as_posix())
            else:
                split.problems[entry.image] = entry.problem
        size = [_number(tree.find(f'size/{side}')) for side in ('width', 'height')]
        if all(size):  # some tools write 0
            image.update(width=int(size[0]), height=int(size[1]))
        coco['images'].append(image)
        for index, thing in enumerate(tree.findall('object'), start=1):
            _add_box(split, image, thing, numbers, f'{place}, object {index}')
    return split


def _read_tree(root: Path, entry: VocImage) -> tuple[ElementTree.Element | None, str]:
    """Return the annotations of an image or, if those cannot be read, what is wrong with them."""
    if entry.annotation_problem:
        return None, entry.annotation_problem
    path = root / 'Annotations' / entry.annotation
    try:
        content = path.read_bytes()
        if b'<!DOCTYPE' in content:  # its entities could expand to gigabytes
            return None, 'has a document type, which is not allowed'
        return ElementTree.fromstring(content), ''
    except FileNotFoundError:
        return None, 'does not exist'
    except OSError as error:
        return None, f'cannot be read: {error.strerror}'
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # for example an unknown encoding
        return None, f'is not valid XML: {error}'


def _names(tree: ElementTree.Element | None) -> list[str]:
    found = [] if tree is None else [thing.findtext('name', '').strip() for thing in tree.findall('object')]
    return [name for name in found if name]


def _add_box(split: DataSplit, image: dict, thing: ElementTree.Element, numbers: dict[str, int], place: str) -> None:
    name = thing.findtext('name', '').strip()
    corners = [_number(thing.find(f'bndbox/{side}')) for side in ('xmin', 'ymin', 'xmax', 'ymax')]
    if not name or None in corners:
        text = f'has the name {name!r} and corners {corners}; it needs name, xmin, ymin, xmax, ymax'
        split.findings.append(Finding('unreadable annotation', place, text, split=split.name))
        return
    if name not in numbers:
        text = f'has the class {name!r}, which no training object has; {nearest(name, numbers)}'
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
