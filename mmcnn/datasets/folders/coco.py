"""A user's own data in COCO format: train.json, val.json and images/, or laid out as COCO 2017."""

from __future__ import annotations

import json
from pathlib import Path

from mmcnn.datasets.folders.coco_entries import KEYS, missing_lists
from mmcnn.datasets.folders.split import DataSplit
from mmcnn.errors import DataError


def is_coco_folder(root: Path) -> bool:
    """One of the annotation files is there."""
    return any((root / file).exists() for split in ('train', 'val') for file, _ in _places(split))


def read_coco_folder(root: Path, name: str) -> DataSplit:
    """Reads one split; what the lists of its file hold is not looked at.

    Args:
        root: The data folder.
        name: 'train' or 'val'.

    Raises:
        DataError: The file or the folder of the images is missing, or the file is not JSON with COCO's three lists.
    """
    for title, prefix in _places(name):
        file, images = root / title, root / prefix
        if not file.exists():
            continue
        if not images.is_dir():
            raise DataError(f'{images} is not a folder' if images.exists() else f'{images} does not exist: {title} '
                            'names images in it')  # fmt: skip
        return DataSplit(name, title, root, prefix, _read(file), ann_file=file)
    raise DataError(f'{root} has no {" or ".join(title for title, _ in _places(name))}, the annotations to '
                    f'{"train" if name == "train" else "validate"} on')  # fmt: skip


def _places(name: str) -> tuple[tuple[str, str], ...]:
    """Where a split's annotations and images may be."""
    return (f'{name}.json', 'images/'), (f'annotations/instances_{name}2017.json', f'{name}2017/')


def _read(path: Path) -> dict:
    try:
        coco = json.loads(path.read_text(encoding='utf-8-sig'))
    except json.JSONDecodeError as error:
        raise DataError(f'{path} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}') from error
    except UnicodeDecodeError as error:
        raise DataError(f'{path} is not UTF-8 text: {error.reason} at byte {error.start}') from error
    except (OSError, RecursionError, ValueError) as error:  # ValueError: a number of thousands of digits
        raise DataError(f'{path} cannot be read: {getattr(error, "strerror", None) or error}') from error
    if not isinstance(coco, dict):
        raise DataError(f'{path} holds a JSON {type(coco).__name__}; COCO format is an object with {", ".join(KEYS)}')
    if missing := missing_lists(coco):
        raise DataError(f'{path} {missing}')
    return coco
