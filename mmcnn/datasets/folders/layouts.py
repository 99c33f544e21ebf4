"""Detection of the layout of a detector's data folder, and the functions that read each layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmcnn.datasets.folders.coco import has_coco_val, holds_coco_files, is_coco_folder, read_coco_folder
from mmcnn.datasets.folders.coco_files import json_files
from mmcnn.datasets.folders.split import DataSplit, Sizes
from mmcnn.datasets.folders.voc import has_voc_val, is_voc_folder, read_voc_folder
from mmcnn.datasets.folders.yolo import has_yolo_val, is_yolo_folder, lacks_settings, read_yolo_folder
from mmcnn.errors import DataError

LAYOUTS = (
    'a data folder has train.json and val.json (COCO format) and images/; or annotations/instances_train2017.json, '
    'instances_val2017.json, train2017/ and val2017/; or train/ and valid/ with _annotations.coco.json in each '
    '(Roboflow); or data.yaml, images/ and labels/ (YOLO); or JPEGImages/, Annotations/ and ImageSets/Main/ (VOC)'
)
_CLASSES = (
    'has train/ but no annotations: it looks like the data folder of a classifier, but this config trains a detector'
)
_SHOWN = 3


@dataclass(frozen=True)
class Layout:
    """A layout of data folders.

    Attributes:
        fits: Whether a folder has this layout.
        read: Reads a split of the folder, 'train' or 'val', given a function that returns images' sizes.
        has_val: Whether the folder has a validation split.
    """

    fits: Callable[[Path], bool]
    read: Callable[[Path, str, Sizes], DataSplit]
    has_val: Callable[[Path], bool]


def _read_coco(root: Path, name: str, sizes: Sizes) -> DataSplit:
    return read_coco_folder(root, name)


def _read_voc(root: Path, name: str, sizes: Sizes) -> DataSplit:
    return read_voc_folder(root, name)


#: The first layout that fits is used.
_LAYOUTS = (
    Layout(is_coco_folder, _read_coco, has_coco_val),
    Layout(is_yolo_folder, read_yolo_folder, has_yolo_val),
    Layout(is_voc_folder, _read_voc, has_voc_val),
    Layout(holds_coco_files, _read_coco, has_coco_val),
    Layout(lacks_settings, read_yolo_folder, has_yolo_val),
)


def is_detector_folder(root: Path) -> bool:
    """Return whether the folder has one of the known layouts."""
    return any(layout.fits(root) for layout in _LAYOUTS)


def looks_like_classes(root: Path) -> bool:
    """Return whether the folder may be a classifier's, but not a detector's: it has train/ and no annotations."""
    return (root / 'train').is_dir() and not is_detector_folder(root) and _looks(root) == _CLASSES


def layout_of(root: Path) -> Layout:
    """Return the layout of a folder.

    Raises:
        DataError: There is no such folder, or its layout is unknown.
    """
    if not root.is_dir():
        raise DataError(f'{root} {"is not a folder" if root.exists() else "does not exist"}; {LAYOUTS}')
    for layout in _LAYOUTS:
        if layout.fits(root):
            return layout
    raise DataError(f'{root} {_looks(root)}; {LAYOUTS}')


def _looks(root: Path) -> str:
    train = root / 'train'
    if train.is_dir() and any(path.is_dir() and path.name not in ('images', 'labels') for path in train.iterdir()):
        return _CLASSES
    files = [path.relative_to(root).as_posix() for path in json_files(root)]
    if files:
        more = f' and {len(files) - _SHOWN} more' if len(files) > _SHOWN else ''
        return f'has {", ".join(files[:_SHOWN])}{more}, but none of them has the lists of COCO format'
    if train.is_dir() and any(path.suffix.lower() in ('.txt', '.xml') for path in train.iterdir()):
        return 'has train/ with annotations beside each image, but no file that names the classes and splits'
    return _CLASSES if train.is_dir() else 'has an unknown layout'
