"""A detector's own data, checked before anything is trained on it: annotations, pictures, and what both sets share."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import hotcoco

from mmcnn.datasets.annotation_check import check_annotations, is_box, is_sized
from mmcnn.datasets.class_check import ClassReport, check_class_folder
from mmcnn.datasets.class_folder import read_class_folder
from mmcnn.datasets.coco_folder import is_coco_folder, read_coco_folder
from mmcnn.datasets.data_part import DataPart
from mmcnn.datasets.data_report import DataReport
from mmcnn.datasets.findings import Finding
from mmcnn.datasets.image_check import ImageFact
from mmcnn.datasets.image_memory import ImageMemory
from mmcnn.datasets.voc_folder import is_voc_folder, read_voc_folder
from mmcnn.datasets.yolo_folder import FILE as YOLO_FILE
from mmcnn.datasets.yolo_folder import read_yolo_folder
from mmcnn.errors import DataError

LAYOUTS = (
    'a data folder holds train.json and val.json (COCO format) and images/; or annotations/instances_train2017.json, '
    'instances_val2017.json, train2017/ and val2017/; or data.yaml, images/ and labels/ (YOLO); or JPEGImages/, '
    'Annotations/ and ImageSets/Main/ (VOC)'
)

#: Lists of a COCO dict, and what is used of their entries.
_KEYS = ('images', 'annotations', 'categories')
_USED = ('id', 'name', 'file_name', 'width', 'height', 'image_id', 'category_id', 'bbox', 'area', 'iscrowd')


def check_data(path: str | Path, names: Sequence[str] = ('train', 'val'), decode: bool = True) -> DataReport:
    """Reads a data folder in any layout of :data:`LAYOUTS` and checks all that is in it.

    Missing widths, heights, areas and crowd flags are filled in. Nothing is written to the folder.

    Args:
        path: The folder.
        names: The parts that are needed, of 'train' and 'val'.
        decode: Look into the pictures. Those that have not changed since the last time are remembered.

    Raises:
        DataError: The folder is of no known layout, or a file that it needs is missing or cannot be read at all.
    """
    root = Path(path)
    memory = ImageMemory(root)
    read = _reader(root)
    parts = [read(root, name, memory) for name in names]
    images = [_named_images(part) for part in parts]
    paths = [part.image_path(image) for part, named in zip(parts, images, strict=True) for _, image in named]
    facts = memory.facts(paths) if decode else {}
    findings = [finding for part in parts for finding in part.findings]
    for part, named in zip(parts, images, strict=True):
        bad_pictures = list(_check_images(part, named, facts)) if decode else []
        findings += bad_pictures
        findings += check_annotations(part, {finding.entry[1] for finding in bad_pictures})
        _fill_in(part)
    if len(parts) == 2:
        findings += _different_categories(*parts)
        findings += _shared_images(*parts, *images, facts) if decode else []
    kept = tuple(_readable(part, _without(part, findings)) for part in parts)
    for part, rest in zip(parts, kept, strict=True):
        findings += _what_is_missing(part, rest)
    return DataReport(root, tuple(parts), tuple(findings), kept)


def check_folder(path: str | Path, decode: bool = True) -> DataReport | ClassReport:
    """Checks the data folder of a detector (:func:`check_data`) or of a classifier, whichever it is.

    Raises:
        DataError: The folder is of no known layout, or a file that it needs is missing or cannot be read at all.
    """
    root = Path(path)
    if (root / 'train').is_dir() and not is_detector_folder(root):
        return check_class_folder(read_class_folder(root), decode=decode)
    return check_data(root, decode=decode)


def is_detector_folder(root: Path) -> bool:
    """The folder is laid out in one of the ways that :func:`check_data` reads."""
    return is_coco_folder(root) or (root / YOLO_FILE).is_file() or is_voc_folder(root)


def _reader(root: Path) -> Callable[[Path, str, ImageMemory], DataPart]:
    """The function that reads a part of a folder of this layout."""
    if not root.is_dir():
        raise DataError(f'{root} {"is not a folder" if root.exists() else "does not exist"}; {LAYOUTS}')
    if not is_detector_folder(root):
        looks = (
            'holds train/ and no annotations: it looks like the data folder of a classifier, this config trains a '
            'detector'
            if (root / 'train').is_dir()
            else 'is laid out in no known way'
        )
        raise DataError(f'{root} {looks}; {LAYOUTS}')
    if is_coco_folder(root):
        return lambda root, name, memory: read_coco_folder(root, name)
    if (root / YOLO_FILE).is_file():
        return read_yolo_folder
    return lambda root, name, memory: read_voc_folder(root, name)


def _named_images(part: DataPart) -> list[tuple[int, dict]]:
    """The entries that name a picture, with their places in the list."""
    return [
        (index, image)
        for index, image in enumerate(part.coco['images'])
        if isinstance(image, dict) and isinstance(image.get('file_name'), str) and image['file_name']
    ]


def _check_images(
    part: DataPart, images: Sequence[tuple[int, dict]], facts: dict[Path, ImageFact]
) -> Iterator[Finding]:
    """Pictures that cannot be used or have another size; sizes that are not there are filled in."""
    for index, image in images:
        fact, shown = facts[part.image_path(image)], part.shown_image(image)
        who = dict(id=image.get('id'), part=part.name, entry=('images', index))
        if fact.problem is not None:
            yield Finding(fact.problem, shown, f'image {image.get("id")} {fact.detail}', **who)
        elif image.get('width') is None or image.get('height') is None:
            image.update(width=fact.width, height=fact.height)
            part.changed = True
        elif is_sized(image) and (image['width'], image['height']) != (fact.width, fact.height):
            size = f'{image["width"]} x {image["height"]}'
            turned = '' if (image['width'], image['height']) != fact.stored else (
                ' once it is rotated as its EXIF entry says: size and boxes have to be those of the rotated picture'
            )  # fmt: skip
            text = f'image {image.get("id")} has {fact.width} x {fact.height} px{turned}, but {size} in the annotations'
            yield Finding('wrong size', shown, text, **who)


def _fill_in(part: DataPart) -> None:
    """The area of boxes without one, and crowd flags that are null; neither is a fault."""
    for annotation in part.coco['annotations']:
        if not isinstance(annotation, dict) or not is_box(annotation.get('bbox')):
            continue
        area = annotation.get('area')
        if not isinstance(area, int | float) or not 0 < area < float('inf'):
            annotation['area'] = annotation['bbox'][2] * annotation['bbox'][3]
            part.changed = True
        if annotation.get('iscrowd', 0) is None:
            annotation['iscrowd'] = 0
            part.changed = True


def _different_categories(train: DataPart, val: DataPart) -> Iterator[Finding]:
    names, others = ([each.get('name') for each in part.coco['categories'] if isinstance(each, dict)]
                     for part in (train, val))  # fmt: skip
    if names == others:
        return
    only = [
        f'only {part.title} has {", ".join(map(repr, missing))}'
        for part, missing in (
            (train, [name for name in names if name not in others]),
            (val, [name for name in others if name not in names]),
        )
        if missing
    ]
    order = f'the same categories in another order: {", ".join(map(str, others))} against {", ".join(map(str, names))}'
    yield Finding('different categories', val.title, f'compared with {train.title}, {"; ".join(only) or order}')


def _shared_images(
    train: DataPart,
    val: DataPart,
    train_images: Sequence[tuple[int, dict]],
    val_images: Sequence[tuple[int, dict]],
    facts: dict[Path, ImageFact],
) -> Iterator[Finding]:
    """Pictures to train on that are to validate on, too, by content: the numbers would not be those of new pictures."""
    held_out = {facts[val.image_path(image)].digest: image for _, image in val_images}
    for index, image in train_images:
        digest = facts[train.image_path(image)].digest
        if digest and digest in held_out:
            other = held_out[digest]
            shown, same = train.shown_image(image), f'image {other.get("id")} of {val.title}, {val.shown_image(other)}'
            text = f'image {image.get("id")} is the picture of {same}'
            yield Finding('train image in val', shown, text, image.get('id'), 'train', ('images', index))


def _without(part: DataPart, findings: Sequence[Finding]) -> dict:
    """The COCO dict less the entries with an error, and less the boxes of images that went."""
    out = {finding.entry for finding in findings if finding.part == part.name and finding.severity == 'error'}
    kept = {
        key: [entry for index, entry in enumerate(part.coco[key]) if (key, index) not in out]
        for key in ('images', 'annotations')
    }
    ids = {image['id'] for image in kept['images']}
    kept['annotations'] = [each for each in kept['annotations'] if each['image_id'] in ids]
    return {**part.coco, **kept}


def _readable(part: DataPart, kept: dict) -> dict:
    """A COCO dict without entries that evaluation would stumble over: some tools write text where it takes numbers."""
    if part.name == 'val':
        notes = json.dumps({key: [] if key in _KEYS else value for key, value in kept.items()})
        try:
            with tempfile.TemporaryDirectory() as folder:
                (file := Path(folder, 'notes.json')).write_text(notes)
                hotcoco.COCO(str(file))
            hotcoco.COCO().dataset = kept
        except (TypeError, ValueError):
            part.changed = True
            used = {key: [each for each in kept[key] if isinstance(each, dict)] for key in _KEYS}
            return {key: [{name: each[name] for name in _USED if name in each} for each in used[key]] for key in _KEYS}
    return kept


def _what_is_missing(part: DataPart, kept: dict) -> Iterator[Finding]:
    """Empty sets, and classes without a box, once what has an error is left out."""
    left = ' without an error' if len(kept['images']) < len(part.coco['images']) else ''
    boxes = [each['category_id'] for each in kept['annotations'] if not each.get('iscrowd')]
    if not kept['images']:
        yield Finding('no images', part.title, f'holds no image{left}', part=part.name)
    elif not boxes and part.name == 'train':
        yield Finding('no boxes', part.title, 'holds no box to train on', part=part.name)
    else:
        present = set(boxes)
        for category in kept['categories']:
            number = category.get('id') if isinstance(category, dict) else None
            if isinstance(number, int) and number not in present:
                text = f'category {number}, {category.get("name")!r}, has no box'
                yield Finding('class without a box', part.title, text, number, part.name)
