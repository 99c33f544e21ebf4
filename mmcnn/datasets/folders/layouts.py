"""In which layout a detector's data folder is, and the function that reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mmcnn.datasets.folders.coco import is_coco_folder, read_coco_folder
from mmcnn.datasets.folders.split import DataSplit, Sizes
from mmcnn.datasets.folders.voc import is_voc_folder, read_voc_folder
from mmcnn.datasets.folders.yolo import is_yolo_folder, read_yolo_folder
from mmcnn.errors import DataError

LAYOUTS = (
    'a data folder holds train.json and val.json (COCO format) and images/; or annotations/instances_train2017.json, '
    'instances_val2017.json, train2017/ and val2017/; or data.yaml, images/ and labels/ (YOLO); or JPEGImages/, '
    'Annotations/ and ImageSets/Main/ (VOC)'
)
#: Each layout by what tells it, the first that fits counts, and its reader: of the folder, 'train' or 'val', and what
#: tells images' sizes.
_READERS: dict[Callable[[Path], bool], Callable[[Path, str, Sizes], DataSplit]] = {
    is_coco_folder: lambda root, name, sizes: read_coco_folder(root, name),
    is_yolo_folder: read_yolo_folder,
    is_voc_folder: lambda root, name, sizes: read_voc_folder(root, name),
}


def is_detector_folder(root: Path) -> bool:
    """The folder is in one of the layouts that are read."""
    return any(fits(root) for fits in _READERS)


def reader_of(root: Path) -> Callable[[Path, str, Sizes], DataSplit]:
    """The function that reads a split of a folder in this layout.

    Raises:
        DataError: There is no such folder, or its layout is not known.
    """
    if not root.is_dir():
        raise DataError(f'{root} {"is not a folder" if root.exists() else "does not exist"}; {LAYOUTS}')
    for fits, read in _READERS.items():
        if fits(root):
            return read
    looks = (
        'holds train/ and no annotations: it looks like the data folder of a classifier, this config trains a detector'
        if (root / 'train').is_dir()
        else 'is laid out in no known way'
    )
    raise DataError(f'{root} {looks}; {LAYOUTS}')
