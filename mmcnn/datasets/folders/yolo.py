"""A user's own data as YOLO trainers take it: data.yaml, and for each image a text file of normalised boxes."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import yaml

from mmcnn.datasets.folders.findings import Finding
from mmcnn.datasets.folders.split import DataSplit, Sizes
from mmcnn.datasets.image_file import IMAGE_SUFFIXES
from mmcnn.errors import DataError

FILE = 'data.yaml'


def is_yolo_folder(root: Path) -> bool:
    """There is a data.yaml."""
    return (root / FILE).is_file()


def read_yolo_folder(root: Path, name: str, sizes: Sizes) -> DataSplit:
    """Reads one split: ``train`` or ``val`` of data.yaml, a folder or a list of images, and their label files.

    The labels of ``images/X.jpg`` are in ``labels/X.txt``, a line for each object: its class, counted from 0, and the
    box as x and y of its middle, width and height, or a polygon of three or more points, all as shares of the rotated
    image's sides. An image without a label file has no objects.

    Args:
        root: The data folder.
        name: 'train' or 'val'.
        sizes: Tells the images' sizes.

    Raises:
        DataError: data.yaml cannot be read, or does not name classes and images.
    """
    settings = _read_settings(root)
    files, folders = _find_images(root, settings, name)
    known_sizes = sizes(files)
    split = DataSplit(name, f'{FILE} ({name})', root, '', _empty(settings), places=[], changed=True)
    labels = [_label_file(file) for file in files]
    for number, (file, label) in enumerate(zip(files, labels, strict=True)):
        image = dict(id=number, file_name=_shown(file, root))
        if (size := known_sizes[file]) is not None:
            image.update(width=size[0], height=size[1])
            _add_boxes(split, image, label)
        split.coco['images'].append(image)
    known = set(labels)
    for folder in dict.fromkeys(_label_file(folder / 'x').parent for folder in folders):
        for label in sorted(set(folder.rglob('*.txt')) - known):
            if label.name != 'classes.txt':
                text = 'there is no image of this name'
                split.findings.append(Finding('annotation without an image', _shown(label, root), text, split=name))
    return split


def _read_settings(root: Path) -> dict:
    path = root / FILE
    try:
        settings = yaml.safe_load(path.read_text(encoding='utf-8-sig'))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f'{path} is not valid YAML: {" ".join(str(error).split())}') from error
    except OSError as error:
        raise DataError(f'{path} cannot be read: {error.strerror}') from error
    names = settings.get('names') if isinstance(settings, dict) else None
    if isinstance(names, dict) and sorted(names, key=str) == sorted(range(len(names)), key=str):
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f'{path} has names: {names!r}; it takes the names of the classes, a list or 0: NAME, 1: NAME')
    if settings.get('nc', len(names)) != len(names):
        raise DataError(f'{path} has nc: {settings["nc"]}, but {len(names)} names')
    return settings | dict(names=[str(each) for each in names])


def _empty(settings: dict) -> dict:
    categories = [dict(id=i, name=name) for i, name in enumerate(settings['names'])]
    return dict(images=[], annotations=[], categories=categories)


def _find_images(root: Path, settings: dict, name: str) -> tuple[list[Path], list[Path]]:
    """The images of a split, sorted, and the folders among what names them."""
    entries = settings.get(name)
    entries = entries if isinstance(entries, list) else [entries]
    if not all(isinstance(entry, str) and entry for entry in entries):
        raise DataError(f'{root / FILE} has {name}: {settings.get(name)!r}; it takes the folder of the images, '
                        f'images/{name} for example')  # fmt: skip
    files, folders = [], []
    for entry in entries:
        place = _find(root, settings, entry)
        if place is None:
            raise DataError(
                f'{root / FILE} has {name}: {entry}, but {_places(root, settings, entry)[0]} does not exist'
            )
        if place.is_dir():
            folders.append(place)
            files += [path for path in place.rglob('*') if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
        else:
            lines = place.read_text(encoding='utf-8', errors='replace').splitlines()
            files += [_normal(place.parent / line.strip()) for line in lines if line.strip()]
    return sorted(set(files)), folders


def _places(root: Path, settings: dict, entry: str) -> list[Path]:
    """Where an entry may be: below ``path``, below data.yaml, and below it where ``../`` was meant for ``./``."""
    base = settings.get('path')
    below = [root / base] if isinstance(base, str) else []
    return [_normal(folder / each) for each in (entry, entry.removeprefix('../')) for folder in (*below, root)]


def _find(root: Path, settings: dict, entry: str) -> Path | None:
    return next((place for place in _places(root, settings, entry) if place.exists()), None)


def _normal(path: Path) -> Path:
    return Path(os.path.normpath(path))


def _label_file(image: Path) -> Path:
    """``labels/`` in place of the last ``images/`` of a path; beside the image where there is none."""
    parts = list(image.parts)
    if 'images' in parts:
        parts[len(parts) - 1 - parts[::-1].index('images')] = 'labels'
    return Path(*parts).with_suffix('.txt')


def _add_boxes(split: DataSplit, image: dict, label: Path) -> None:
    shown = _shown(label, split.root)
    try:
        lines = label.read_text(encoding='utf-8-sig').splitlines()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        text = f'cannot be read: {getattr(error, "strerror", None) or "it is not UTF-8 text"}'
        split.findings.append(Finding('unreadable annotation', shown, text, split=split.name))
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f'{shown}:{number}'
        try:
            category, box = _parse(line.split(), image['width'], image['height'])
        except (ValueError, OverflowError):
            text = (
                f'"{line.strip()[:60]}" is not a class, counted from 0, and 4 numbers or a polygon of 3 points or more'
            )
            split.findings.append(Finding('unreadable annotation', place, text, split=split.name))
            continue
        split.coco['annotations'].append(
            dict(id=len(split.places), image_id=image['id'], category_id=category, bbox=box, iscrowd=0)
        )
        split.places.append(place)


def _parse(words: Sequence[str], width: int, height: int) -> tuple[int, list[float]]:
    """Class and box (x, y, width, height in pixels) of a line.

    Raises:
        ValueError, OverflowError: it is none.
    """
    category, *numbers = map(float, words)
    if category != int(category) or category < 0:
        raise ValueError
    if len(numbers) == 4:
        x, y, w, h = numbers
        return int(category), [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
    if len(numbers) < 6 or len(numbers) % 2 or not all(map(math.isfinite, numbers)):
        raise ValueError
    xs, ys = numbers[::2], numbers[1::2]
    left, top = min(xs) * width, min(ys) * height
    return int(category), [left, top, max(xs) * width - left, max(ys) * height - top]


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
