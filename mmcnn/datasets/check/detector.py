"""The check of a detector's data before a training starts: annotations, images, overlap of the splits."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import hotcoco

from mmcnn.datasets.check.annotations import check_annotations, is_box
from mmcnn.datasets.check.boxes import (
    SizedBoxes,
    all_crowds,
    check_corners,
    check_crowding,
    check_crowds,
    check_format,
    number_of_crowds,
)
from mmcnn.datasets.check.classifier import ClassReport, check_class_folder
from mmcnn.datasets.check.drawn_split import (
    Draw,
    DrawnSplit,
    as_val_alone,
    digest_of_images,
    draw_split,
    whole_as_val,
)
from mmcnn.datasets.check.image_records import ImageRecords
from mmcnn.datasets.check.named_images import check_named_images, check_named_twice, check_shared_images, named_images
from mmcnn.datasets.check.report import DataReport
from mmcnn.datasets.folders.chosen_classes import Choice, choose_classes, leave_out_grouping
from mmcnn.datasets.folders.classes import read_class_folder
from mmcnn.datasets.folders.coco_entries import read_entries
from mmcnn.datasets.folders.findings import Finding
from mmcnn.datasets.folders.layouts import layout_of, looks_like_classes
from mmcnn.datasets.folders.split import DataSplit
from mmcnn.datasets.folders.yolo_labels import classes_from_one
from mmcnn.engine.collection import no_collection
from mmcnn.errors import DataError

#: Lists of a COCO dict, and the keys of their entries that are used.
_KEYS = ('images', 'annotations', 'categories')
_USED = ('id', 'name', 'file_name', 'width', 'height', 'image_id', 'category_id', 'bbox', 'area', 'iscrowd')


@no_collection()
def check_data(
    path: str | Path,
    names: Sequence[str] = ('train', 'val'),
    decode: bool = True,
    draw: Draw | None = None,
    choice: Choice | None = None,
) -> DataReport:
    """Read a data folder in any known layout (``folders/layouts.py``) and check all of its content.

    Missing widths, heights, areas and crowd flags are filled in. Nothing is written to the folder.

    Args:
        path: The folder.
        names: The required splits, of 'train' and 'val'.
        decode: Whether to decode the images. Results for unchanged files are cached.
        draw: Draw of validation images, if the folder has no validation split; it requires decoding all images. None:
            if only 'val' is required, all images are validation images.
        choice: Selects and orders the classes among the category names; boxes of other categories are dropped. None:
            all categories except for one that only groups the others.

    Raises:
        DataError: The layout of the folder is unknown, a required file is missing or cannot be read at all, there is no
            validation split, or there is one although a draw is requested.
    """
    root = Path(path)
    layout, records = layout_of(root), ImageRecords(root)
    is_drawn, drawn = 'val' in names and not layout.has_val(root), None
    if draw is not None and not is_drawn:
        raise DataError(f'val_fraction={draw.fraction:g}: {root} already has validation images; to use them, leave '
                        'out the option')  # fmt: skip
    splits = [layout.read(root, name, records.sizes) for name in (('train',) if is_drawn else names)]
    for split in splits:
        if split.ann_file is not None:
            split.findings += read_entries(split)
    if is_drawn:
        splits, drawn = _drawn_splits(splits[0], names, draw, records)
    findings = list(dict.fromkeys(finding for split in splits for finding in split.findings))
    findings += classes_from_one(splits)
    if choice is None:
        findings += leave_out_grouping(splits)
    else:
        findings += [finding for split in splits for finding in choose_classes(split, choice)]
    images = [named_images(split) for split in splits]
    paths = [split.image_path(image) for split, named in zip(splits, images, strict=True) for _, image in named]
    facts = records.facts(paths) if decode else {}
    boxes: list[SizedBoxes] = []
    for split, named in zip(splits, images, strict=True):
        bad_images = list(check_named_images(split, named, facts)) if decode else []
        findings += bad_images
        findings += check_annotations(split, {finding.entry[1] for finding in bad_images})
        boxes.append(SizedBoxes.of(split))
        findings += check_format(split, boxes[-1])
        for check in (check_crowds, check_crowding):
            findings += check(split)
        findings += check_named_twice(split, named)
        _fill_in(split)
    findings += check_corners(splits, boxes)
    if len(splits) == 2:
        findings += _different_categories(*splits)
        findings += check_shared_images(*splits, *images, facts) if decode else []
    kept = tuple(_readable(split, _without(split, findings)) for split in splits)
    for split, rest in zip(splits, kept, strict=True):
        findings += _what_is_missing(split, rest, [each for each in findings if each.split == split.name])
    return DataReport(root, tuple(splits), tuple(findings), kept, drawn)


def check_folder(path: str | Path, decode: bool = True, draw: Draw | None = None) -> DataReport | ClassReport:
    """Check the data folder of a detector (:func:`check_data`) or of a classifier, whichever it is.

    Raises:
        DataError: See :func:`check_data`; validation images cannot be drawn for a classifier's folder.
    """
    root = Path(path)
    if looks_like_classes(root):
        if draw is not None:
            raise DataError(f'val_fraction={draw.fraction:g}: {root} is the data folder of a classifier, which is '
                            'always validated on val/')  # fmt: skip
        return check_class_folder(read_class_folder(root), decode=decode)
    return check_data(root, decode=decode, draw=draw)


def needs_draw(root: Path) -> bool:
    """Return whether validation images must be drawn because the folder has no validation split.

    Raises:
        DataError: The layout of the folder is unknown, or a file that lists the splits cannot be read.
    """
    return not layout_of(root).has_val(root)


def images_of_undrawn(root: Path) -> str:
    """Return the recorded digest of all images of a folder from which some are drawn (``DrawnSplit.images``).

    Raises:
        DataError: The folder cannot be read.
    """
    records = ImageRecords(root)
    whole = layout_of(root).read(root, 'train', records.sizes)
    return digest_of_images(whole, records.facts([whole.image_path(image) for _, image in named_images(whole)]))


def _drawn_splits(
    whole: DataSplit, names: Sequence[str], draw: Draw | None, records: ImageRecords
) -> tuple[list[DataSplit], DrawnSplit | None]:
    if draw is None and 'train' not in names:
        return [whole_as_val(whole)], None
    if draw is None:
        raise DataError(f'{whole.root} has {whole.title}, but no validation images: --val-fraction 0.2 draws every '
                        'fifth image for validation (val_fraction=0.2), with the seed --split-seed N')  # fmt: skip
    facts = records.facts([whole.image_path(image) for _, image in named_images(whole)])
    train, val, drawn = draw_split(whole, draw, facts)
    return [train, val] if 'train' in names else [as_val_alone(val, train)], drawn


def _fill_in(split: DataSplit) -> None:
    """Fill in the area of boxes without one and crowd flags that are null; neither is an error."""
    for annotation in split.coco['annotations']:
        if not isinstance(annotation, dict):
            continue
        area, crowd = annotation.get('area'), annotation.get('iscrowd', 0)
        has_area = isinstance(area, int | float) and 0 < area < float('inf')
        if (has_area and crowd is not None) or not is_box(annotation.get('bbox')):
            continue
        if not has_area:
            annotation['area'] = annotation['bbox'][2] * annotation['bbox'][3]
        if crowd is None:
            annotation['iscrowd'] = 0
        split.changed = True


def _different_categories(train: DataSplit, val: DataSplit) -> Iterator[Finding]:
    names, others = ([each.get('name') for each in split.coco['categories'] if isinstance(each, dict)]
                     for split in (train, val))  # fmt: skip
    if names == others:
        return
    only = [
        f'only {split.title} has {", ".join(map(repr, missing))}'
        for split, missing in (
            (train, [name for name in names if name not in others]),
            (val, [name for name in others if name not in names]),
        )
        if missing
    ]
    order = f'the same categories in another order: {", ".join(map(str, others))} and {", ".join(map(str, names))}'
    yield Finding('different categories', val.title, f'compared with {train.title}, {"; ".join(only) or order}')


def _without(split: DataSplit, findings: Sequence[Finding]) -> dict:
    """Return the COCO dict without entries that have errors, and without the boxes of images that were removed."""
    out = {finding.entry for finding in findings if finding.split == split.name and finding.severity == 'error'}
    if not out:
        return split.coco
    kept = {
        key: [entry for index, entry in enumerate(split.coco[key]) if (key, index) not in out]
        for key in ('images', 'annotations')
    }
    ids = {image['id'] for image in kept['images']}
    kept['annotations'] = [each for each in kept['annotations'] if each['image_id'] in ids]
    return {**split.coco, **kept}


def _readable(split: DataSplit, kept: dict) -> dict:
    """Return a COCO dict without entries that evaluation cannot handle: some tools write text in place of numbers."""
    if split.name == 'val':
        notes = json.dumps({key: [] if key in _KEYS else value for key, value in kept.items()})
        try:
            with tempfile.TemporaryDirectory() as folder:
                (file := Path(folder, 'notes.json')).write_text(notes)
                hotcoco.COCO(str(file))
            hotcoco.COCO().dataset = kept
        except (TypeError, ValueError):
            split.changed = True
            used = {key: [each for each in kept[key] if isinstance(each, dict)] for key in _KEYS}
            return {key: [{name: each[name] for name in _USED if name in each} for each in used[key]] for key in _KEYS}
    return kept


#: Errors that make a box lose its class or image, so that the classes of lost boxes are unknown.
_LOSING = {'unknown category', 'unknown image', 'bad id', 'bad category', 'bad image entry', 'unreadable annotation'}


def _what_is_missing(split: DataSplit, kept: dict, found: Sequence[Finding]) -> Iterator[Finding]:
    """Yield findings about empty splits, and about classes without boxes, after entries with errors are removed.

    Args:
        split: The split that was read.
        kept: Its dict without entries that have errors.
        found: All findings about the split.
    """
    left = ' without an error' if len(kept['images']) < len(split.coco['images']) else ''
    before, boxes = _classes_of_boxes(split.coco), _classes_of_boxes(kept)
    loses = any(finding.kind in _LOSING for finding in found)
    where = dict(split=split.name)
    if not kept['images']:
        follows = bool(split.coco['images'])
        yield Finding('no images', split.title, f'has no images{left}', **where, follows=follows)
    elif not boxes:
        where['follows'] = loses or bool(before)
        why = f': {all_crowds(split)}' if number_of_crowds(kept) else ''
        if split.name == 'train':
            yield Finding('no boxes', split.title, f'has no boxes to train on{why}', **where)
        else:
            text = f'has no objects to evaluate, so there will be no AP and no best checkpoint{why}'
            yield Finding('nothing to measure', split.title, text, **where)
    else:
        for category in kept['categories']:
            category_id = category.get('id') if isinstance(category, dict) else None
            if isinstance(category_id, int) and category_id not in boxes:
                text = f'category {category_id}, {category.get("name")!r}, has no boxes'
                follows = loses or category_id in before
                yield Finding('class without a box', split.title, text, category_id, **where, follows=follows)


def _classes_of_boxes(coco: dict) -> set[int]:
    """Return the ids of the categories with boxes to train on."""
    boxes = (box for box in coco['annotations'] if isinstance(box, dict) and not box.get('iscrowd'))
    return {box['category_id'] for box in boxes if isinstance(box.get('category_id'), int)}
