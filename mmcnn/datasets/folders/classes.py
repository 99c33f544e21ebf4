"""Images for a classifier in one folder per class, as ImageNet is usually unpacked: reading, checking, loading."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mmcnn.datasets.folders.coco_files import other_files, usual_files
from mmcnn.errors import DataError
from mmcnn.registry import DATASETS

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
_LAYOUT = 'the data folder of a classifier has train/CLASS/ and val/CLASS/ with the images of each class'
_SHOWN = 5


@dataclass(frozen=True)
class ClassData:
    """A data folder that :func:`read_class_folder` has accepted.

    Attributes:
        root: The folder.
        classes: Names of the class folders, sorted; label i is ``classes[i]``.
        num_train: Number of training images; None if they were not requested.
        num_val: Number of validation images.
        num_ignored: Number of files in the class folders that are not images by their names.
        left_out: Split ('train' or 'val') and file, relative to ``root``, of images to skip.
    """

    root: Path
    classes: tuple[str, ...]
    num_train: int | None
    num_val: int
    num_ignored: int
    left_out: tuple[tuple[str, str], ...] = ()


def read_class_folder(path: str | Path, train: str | None = 'train', val: str = 'val') -> ClassData:
    """Read and check a folder with train/CLASS/ and val/CLASS/.

    Images may be in subfolders of their class. Files with other suffixes are counted and skipped; folders whose names
    begin with a dot are not classes. The images themselves are not opened.

    Args:
        path: The folder.
        train: Its folder of training images; None: not required.
        val: Its folder of validation images.

    Returns:
        The folder with its classes and numbers of images.

    Raises:
        DataError: A folder is missing or empty, a class has no images, or the splits have different classes.
    """
    root = Path(path)
    if not root.is_dir():
        state = 'is not a folder' if root.exists() else 'does not exist'
        raise DataError(f'{root} {state}; {_LAYOUT}')
    splits = [root / name for name in (train, val) if name is not None]
    if not all(map(_has_folders, splits)) and (files := usual_files(root) or other_files(root)):
        raise DataError(f'{root} has {files[0]}: it is the data folder of a detector, but this config trains a '
                        f'classifier; {_LAYOUT}')  # fmt: skip
    for split in splits:
        if not split.is_dir():
            raise DataError(f'{split} does not exist; {_LAYOUT}')
    found = [images_of_classes(split) for split in splits]
    (first, _), (last, _) = found[0], found[-1]
    if first.keys() != last.keys():
        raise DataError(f'{splits[0]} and {splits[-1]} have different classes: {_difference(splits, first, last)}')
    counts = [sum(map(len, images.values())) for images, _ in found]
    return ClassData(
        root,
        tuple(last),
        num_train=None if train is None else counts[0],
        num_val=counts[-1],
        num_ignored=sum(ignored for _, ignored in found),
    )


def images_of_classes(folder: str | Path) -> tuple[dict[str, list[str]], int]:
    """Find the images below the class folders of a folder.

    Returns:
        Class name -> paths of its images, both sorted, and the number of files that are not images by their names.

    Raises:
        DataError: There are no class folders, or one has no images.
    """
    with os.scandir(folder) as entries:
        entries = sorted(entries, key=lambda entry: entry.name)
    classes = [entry for entry in entries if entry.is_dir() and not entry.name.startswith('.')]
    if not classes:
        loose = sum(_is_image(entry.name) for entry in entries)
        texts = [entry.name for entry in entries if entry.name.lower().endswith(('.json', '.xml'))]
        advice = (
            f' and {texts[0]}, which are the data of a detector' if texts else ': move each to the folder of its class'
        )
        beside = f', but {loose} images{advice}' if loose else ''
        raise DataError(f'{folder} has no class folders{beside}; {_LAYOUT}')
    images: dict[str, list[str]] = {}
    ignored = 0
    for entry in classes:
        paths = [os.path.join(path, name) for path, _, names in os.walk(entry.path) for name in names]
        images[entry.name] = sorted(path for path in paths if _is_image(path))
        ignored += len(paths) - len(images[entry.name])
    empty = [name for name, paths in images.items() if not paths]
    if empty:
        raise DataError(f'{folder}: {len(empty)} of {len(images)} classes have no images: {_listed(empty)}')
    return images, ignored


@DATASETS.register_module()
class ClassFolder(BaseDataset):
    """The images of a folder with one subfolder per class.

    A sample is ``dict(img_path=..., gt_label=...)``; label i is ``metainfo['classes'][i]``. Without classes in
    ``metainfo``, the sorted names of the folders are used, like ImageNet's WordNet ids.

    Args:
        data_root (str): The data folder.
        data_prefix (dict): ``dict(img='train/')``, the folder with the class folders.
        metainfo (dict, optional): ``dict(classes=...)``; the folders must match.
        pipeline (list[dict]): Transforms.
        left_out (Sequence[str]): Images to skip, relative to ``data_root``.
        **kwargs: See MMEngine's ``BaseDataset``.

    Raises:
        DataError: See :func:`images_of_classes`; or the folders do not match the given classes.
    """

    def __init__(
        self,
        data_root: str = '',
        data_prefix: dict | None = None,
        metainfo: dict | None = None,
        pipeline: Sequence[dict] = (),
        left_out: Sequence[str] = (),
        **kwargs: object,
    ) -> None:
        self.left_out = {os.path.normpath(os.path.join(data_root, path)) for path in left_out}
        prefix = data_prefix or dict(img='')
        super().__init__(data_root=data_root, data_prefix=prefix, metainfo=metainfo, pipeline=list(pipeline), **kwargs)

    def load_data_list(self) -> list[dict]:
        """Return a ``dict(img_path, gt_label)`` for each image, class by class."""
        folder = self.data_prefix['img']
        if not os.path.isdir(folder):
            raise DataError(f'{folder} does not exist; {_LAYOUT}')
        images, ignored = images_of_classes(folder)
        classes = tuple(self._metainfo.setdefault('classes', tuple(images)))
        if set(classes) != set(images):
            raise DataError(
                f'the folders in {folder} do not match the classes of the config: '
                f'{_difference(("the config", folder), dict.fromkeys(classes), images)}'
            )
        if ignored:
            print_log(
                f'{folder}: {ignored} files that are not images by their names are skipped',
                logger='current',
                level=logging.WARNING,
            )
        return [
            dict(img_path=path, gt_label=label)
            for label, name in enumerate(classes)
            for path in images[name]
            if not self.left_out or os.path.normpath(path) not in self.left_out
        ]


def _has_folders(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_dir() and not path.name.startswith('.') for path in folder.iterdir())


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def _difference(places: Sequence[object], first: dict, last: dict) -> str:
    """Return a phrase with the names that only one of two places has."""
    only = [
        (place, sorted(own.keys() - other.keys()))
        for place, own, other in zip(places, (first, last), (last, first), strict=True)
    ]
    return '; '.join(f'only {place} has {_listed(names)}' for place, names in only if names)


def _listed(names: Sequence[str]) -> str:
    more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
    return ', '.join(names[:_SHOWN]) + more
