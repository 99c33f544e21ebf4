"""Readers of the layouts in which public data sets are published: each yields the images and boxes of both splits."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mmcnn.datasets.folders.voc import read_voc_folder
from mmcnn.datasets.folders.voc_sets import FOLDER
from mmcnn.errors import DataError
from mmcnn.image_file import IMAGE_SUFFIXES


@dataclass(frozen=True)
class SourceBox:
    """A box as published.

    Attributes:
        name: Its class.
        corners: x1, y1, x2, y2 in pixels of the published image, x2 and y2 exclusive.
        crowd: Whether it is neither trained on nor counted against a detector.
    """

    name: str
    corners: tuple[float, float, float, float]
    crowd: bool = False


@dataclass(frozen=True)
class SourceImage:
    """A published image.

    Attributes:
        path: Its file.
        boxes: Its boxes, in the order of their file.
    """

    path: Path
    boxes: tuple[SourceBox, ...]


#: 'train' and 'val' -> the images.
Splits = dict[str, list[SourceImage]]


def read_voc(root: Path) -> Splits:
    """Read JPEGImages/, Annotations/ and ImageSets/Main/: trainval.txt is for training, test.txt for validation."""
    named = {name: _lines(root / FOLDER / f'{word}.txt') for name, word in (('train', 'trainval'), ('val', 'test'))}
    annotations = {path.stem: path for path in sorted((root / 'Annotations').glob('*.xml'))}
    return _voc_splits({name: {stem: annotations.get(stem) for stem in stems} for name, stems in named.items()},
                       _images_in(root / 'JPEGImages'))  # fmt: skip


def read_voc_beside(root: Path) -> Splits:
    """Read images/train/ and images/test/ with an XML file beside each image."""
    folders = {'train': root / 'images/train', 'val': root / 'images/test'}
    annotations = {name: {path.stem: path for path in sorted(folder.glob('*.xml'))} for name, folder in folders.items()}
    return _voc_splits(
        annotations, {stem: path for each in folders.values() for stem, path in _images_in(each).items()}
    )


def read_voc_undivided(root: Path) -> Splits:
    """Read images/ and annotations/ or annots/ without splits: every fifth image by name is used for validation."""
    folder = next((root / name for name in ('annotations', 'annots') if (root / name).is_dir()), root / 'annotations')
    files = sorted(folder.glob('*.xml'))
    annotations = {
        'train': {path.stem: path for number, path in enumerate(files) if number % 5 != 4},
        'val': {path.stem: path for path in files[4::5]},
    }
    return _voc_splits(annotations, _images_in(root / 'images'))


def read_deeppcb(root: Path) -> Splits:
    """Read PCBData/: trainval.txt and test.txt name images and text files with a line ``x1 y1 x2 y2 type`` per box.

    The image with defects is called X_test.jpg if the lists have X.jpg.
    """
    kinds = {1: 'open', 2: 'short', 3: 'mousebite', 4: 'spur', 5: 'copper', 6: 'pinhole'}
    folder = root / 'PCBData'

    def image(line: str) -> SourceImage:
        picture, text = (folder / word for word in line.split())
        rows = [tuple(map(int, row.replace(',', ' ').split())) for row in _lines(text)]
        boxes = tuple(SourceBox(kinds[row[4]], row[:4]) for row in rows)
        return SourceImage(picture.with_name(f'{picture.stem}_test{picture.suffix}'), boxes)

    return {
        name: [image(line) for line in _lines(folder / f'{word}.txt')]
        for name, word in (('train', 'trainval'), ('val', 'test'))
    }


def read_hituav(root: Path) -> Splits:
    """Read normal_json/: COCO's lists with ``filename`` for ``file_name``; DontCare becomes crowd boxes of Person."""
    folder = root / 'normal_json'

    def split(name: str) -> list[SourceImage]:
        files = [folder / 'annotations' / f'{prefix}{name}.json' for prefix in ('', 'instances_')]
        coco = _json(next((file for file in files if file.is_file()), files[0]))
        names = {each['id']: each['name'] for each in coco['categories']}
        boxes: dict[int, list[SourceBox]] = {each['id']: [] for each in coco['images']}
        for each in coco.get('annotations') or coco.get('annotation') or ():
            x, y, w, h = each['bbox']
            is_crowd = names[each['category_id']] == 'DontCare'
            kind = 'Person' if is_crowd else names[each['category_id']]
            boxes[each['image_id']].append(SourceBox(kind, (x, y, x + w, y + h), is_crowd))
        return [SourceImage(folder / name / each['filename'], tuple(boxes[each['id']])) for each in coco['images']]

    return {name: split(name) for name in ('train', 'val')}


def read_tables(root: Path) -> Splits:
    """Read images/, and train.csv and val.csv with a line ``image,x1,y1,x2,y2,class`` for each box."""

    def split(name: str) -> list[SourceImage]:
        boxes: dict[str, list[SourceBox]] = {}
        for picture, *corners, kind in csv.reader(_lines(root / f'{name}.csv')):
            boxes.setdefault(Path(picture).name, []).append(SourceBox(kind, tuple(map(float, corners))))
        return [SourceImage(root / 'images' / picture, tuple(of)) for picture, of in boxes.items()]

    return {name: split(name) for name in ('train', 'val')}


def _voc_splits(annotations: Mapping[str, Mapping[str, Path | None]], images: Mapping[str, Path]) -> Splits:
    """Return the splits, read by our reader of VOC folders from links to the files in the layout that it needs.

    Args:
        annotations: 'train' and 'val' -> stem -> XML file.
        images: Stem -> image file.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ('JPEGImages', 'Annotations', FOLDER):
            (root / name).mkdir(parents=True)
        for name, files in annotations.items():
            for stem, file in files.items():
                if file is None or stem not in images:
                    lacking = 'XML file' if file is None else 'image'
                    raise DataError(f'{stem} is listed as an image, but has no {lacking}')
                _link(root / 'Annotations' / f'{stem}.xml', file)
                picture = images[stem]
                _link(root / 'JPEGImages' / f'{stem}{picture.suffix.lower()}', picture)
            (root / FOLDER / f'{name}.txt').write_text('\n'.join(files), encoding='utf-8')
        return {name: list(_voc_images(root, name, images)) for name in annotations}


def _link(link: Path, target: Path) -> None:
    try:
        link.symlink_to(target.resolve())
    except OSError:  # Windows lets administrators only, some file systems nobody
        shutil.copyfile(target, link)


def _voc_images(root: Path, name: str, images: Mapping[str, Path]) -> Iterator[SourceImage]:
    split = read_voc_folder(root, name)
    if problems := [finding for finding in split.findings if finding.severity == 'error']:
        raise DataError(f'{len(problems)} faults, the first: {problems[0]}')
    names = {each['id']: each['name'] for each in split.coco['categories']}
    boxes: dict[int, list[SourceBox]] = {image['id']: [] for image in split.coco['images']}
    for each in split.coco['annotations']:
        x, y, w, h = each['bbox']
        box = SourceBox(names[each['category_id']], (x, y, x + w, y + h), bool(each['iscrowd']))
        boxes[each['image_id']].append(box)
    for image in split.coco['images']:
        yield SourceImage(images[Path(image['file_name']).stem], tuple(boxes[image['id']]))


def _images_in(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob('*')) if path.suffix.lower() in IMAGE_SUFFIXES}


def _lines(file: Path) -> Iterable[str]:
    try:
        return [line.strip() for line in file.read_text(encoding='utf-8-sig').splitlines() if line.strip()]
    except OSError as error:
        raise DataError(f'{file} cannot be read: {error.strerror}', str(file)) from error


def _json(file: Path) -> dict:
    try:
        return json.loads(file.read_text(encoding='utf-8-sig'))
    except (OSError, ValueError) as error:
        raise DataError(f'{file} cannot be read: {getattr(error, "strerror", None) or error}', str(file)) from error
