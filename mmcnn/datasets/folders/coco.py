"""Users' data in COCO format: locations of files and images, and the splits of the file."""

from __future__ import annotations

import json
import os
from array import array
from pathlib import Path

from mmcnn.datasets.folders.coco_entries import KEYS, missing_lists
from mmcnn.datasets.folders.coco_files import AnnotationFile, choose_file, other_files, usual_files
from mmcnn.datasets.folders.file_finder import FileFinder
from mmcnn.datasets.folders.file_names import SPLIT_WORDS, split_words, used_to_validate
from mmcnn.datasets.folders.split import DataSplit
from mmcnn.errors import DataError

_TRIED = 50  # number of entries used to find the folder of the images


def is_coco_folder(root: Path) -> bool:
    """Return whether one of the annotation files exists with its usual name."""
    return bool(usual_files(root))


def holds_coco_files(root: Path) -> bool:
    """Return whether there are files in COCO format, with any names."""
    return bool(other_files(root))


def has_coco_val(root: Path) -> bool:
    """Return whether there are annotations for validation."""
    return choose_file(root, 'val') is not None


def read_coco_folder(root: Path, name: str) -> DataSplit:
    """Read one split without checking the lists of its file, except for the files of the images.

    Args:
        root: The data folder.
        name: 'train' or 'val'.

    Raises:
        DataError: The file or the folder of the images is missing, the choice of the file is ambiguous, or the file
            is not JSON with COCO's three lists.
    """
    file = choose_file(root, name)
    if file is None:
        raise DataError(f'{root} has no {name}.json or annotations/instances_{name}2017.json with the annotations for '
                        f'{"training" if name == "train" else "validation"}')  # fmt: skip
    coco = _read(root / file.title)
    names = [image['file_name'] for image in coco['images'] if _is_named(image)]
    split = DataSplit(name, file.title, root, _folder_of_images(root, file, names), coco, ann_file=root / file.title)
    if name == 'val':
        split.findings += used_to_validate(file.title, file.word)
    _find_images(split, split_words(file.title) & {file.word})
    return split


def _folder_of_images(root: Path, file: AnnotationFile, names: list[str]) -> str:
    """Return the folder with most of the images that a file names, '' or ending in a slash; else the expected folder.

    Raises:
        DataError: The folder does not exist, or several contain equally many of the images.
    """
    usual = [each for each in dict.fromkeys(file.folders) if (root / each).is_dir()]
    of_other = set(SPLIT_WORDS['val' if file.word in SPLIT_WORDS['train'] else 'train'])
    others = [path for path in sorted(root.iterdir()) if path.is_dir() and not split_words(path.name) & of_other]
    others = [f'{path.name}/' for path in others if f'{path.name}/' not in usual]
    tried = names[:: max(1, len(names) // _TRIED)]
    for written in (tried, [name.replace('\\', '/').rpartition('/')[2] for name in tried]):
        for folders in (usual, others):
            there = [sum(os.path.isfile(os.path.join(root, each, name)) for name in written) for each in folders]
            best = [each for each, count in zip(folders, there, strict=True) if count and count == max(there)]
            if len(best) > 1 and folders is others:
                raise DataError(f'{root} has the images of {file.title} in several folders, {", ".join(best)}; move '
                                f'the right ones to {file.folders[0]}, which is searched first')  # fmt: skip
            if best:
                return best[0]
    images = root / file.folders[0]
    if not images.is_dir() and not any(usual):
        raise DataError(f'{images} is not a folder' if images.exists() else f'{images} does not exist, but '
                        f'{file.title} has images in it')  # fmt: skip
    return next(each for each in usual if each)


def _find_images(split: DataSplit, words: set[str]) -> None:
    """Set the names of images to those of the files here; notes report corrected names."""
    below = split.root / split.prefix
    finder = FileFinder(split.root, [below], [below], also=[split.root, split.ann_file.parent], split=words)
    places = finder.find(image['file_name'] for image in split.coco['images'] if _is_named(image))
    found = {name: place.path for name, place in places.items() if place.path is not None}
    problems = {name: place.problem for name, place in places.items() if place.problem}
    moved = {
        name: path
        for name, path in found.items()
        if str(path) != os.path.join(below, name) and path != below / name  # comparing paths takes longer
    }
    inside = all(path.is_relative_to(below) for path in moved.values())
    for image in split.coco['images'] if moved else ():
        if _is_named(image):
            name = image['file_name']
            path = moved.get(name, name if inside else os.path.join(below, name))
            image['file_name'] = _relative(path, below if inside else split.root)
            if name in problems:
                problems[image['file_name']] = problems[name]
    if moved:
        split.prefix, split.changed = split.prefix if inside else '', True
    split.problems = problems
    split.findings += finder.notes(split.title, split.name)


def _relative(path: str | Path, root: Path) -> str:
    """Return a path as in COCO files: relative to the folder if it is below it."""
    path = Path(path)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _is_named(image: object) -> bool:
    return isinstance(image, dict) and isinstance(image.get('file_name'), str) and bool(image['file_name'])


def _packed(entry: dict) -> dict:
    """Return an entry whose polygons are arrays, which take a third of the memory of lists for COCO."""
    if type(polygons := entry.get('segmentation')) is list:
        entry['segmentation'] = [
            array('d', polygon) if type(polygon) is list and set(map(type, polygon)) == {float} else polygon
            for polygon in polygons
        ]
    return entry


def _read(path: Path) -> dict:
    try:
        coco = json.loads(path.read_text(encoding='utf-8-sig'), object_hook=_packed)
    except json.JSONDecodeError as error:
        raise DataError(f'{path} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}') from error
    except UnicodeDecodeError as error:
        raise DataError(f'{path} is not UTF-8 text: {error.reason} at byte {error.start}') from error
    except (OSError, RecursionError, ValueError) as error:  # ValueError: a number with thousands of digits
        raise DataError(f'{path} cannot be read: {getattr(error, "strerror", None) or error}') from error
    if not isinstance(coco, dict):
        raise DataError(f'{path} is a JSON {type(coco).__name__}; COCO format is an object with {", ".join(KEYS)}')
    if missing := missing_lists(coco):
        raise DataError(f'{path} {missing}')
    return coco
