"""Users' data in YOLO's layout: data.yaml, and for each image a text file of normalised boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmcnn.datasets.folders.file_finder import FileFinder
from mmcnn.datasets.folders.file_names import SPLIT_WORDS, find_place, normal, shown, split_words
from mmcnn.datasets.folders.findings import Finding, number
from mmcnn.datasets.folders.split import DataSplit, Sizes
from mmcnn.datasets.folders.yolo_labels import LabelReader, label_places
from mmcnn.datasets.folders.yolo_settings import YoloSettings, folders_with_labels, read_settings, settings_files
from mmcnn.errors import DataError
from mmcnn.image_file import IMAGE_SUFFIXES

#: Text files beside labels that do not belong to an image.
_OTHER_TEXTS = {'classes.txt', 'readme.txt', 'license.txt', 'train.txt', 'val.txt', 'valid.txt', 'test.txt'}


def is_yolo_folder(root: Path) -> bool:
    """Return whether there is a data.yaml, or a file with another name that replaces it."""
    return bool(settings_files(root))


def lacks_settings(root: Path) -> bool:
    """Return whether there are folders of images and labels, but no data.yaml."""
    return bool(folders_with_labels(root))


def has_yolo_val(root: Path) -> bool:
    """Return whether validation images are named.

    Raises:
        DataError: data.yaml cannot be read.
    """
    return 'val' in read_settings(root).places


def read_yolo_folder(root: Path, name: str, sizes: Sizes) -> DataSplit:
    """Read one split: ``train`` or ``val`` of data.yaml, a folder or a list of images, and their label files.

    The labels of ``images/X.jpg`` are in ``labels/X.txt``, or beside the image in ``images/X.txt``, with a line for
    each object: its class, counted from 0, and the box as x and y of its centre, width and height, or a polygon of at
    least three points, all as fractions of the rotated image's sides. An image without a label file has no objects.

    Args:
        root: The data folder.
        name: 'train' or 'val'.
        sizes: Returns the images' sizes.

    Raises:
        DataError: data.yaml cannot be read, or does not name classes and images.
    """
    settings = read_settings(root)
    categories = [dict(id=i, name=each) for i, each in enumerate(settings.names)]
    title = f'{settings.file} ({name})'
    split = DataSplit(name, title, root, '', dict(images=[], annotations=[], categories=categories), places=[],
                      findings=list(settings.findings), changed=True)  # fmt: skip
    files, folders = _find_images(split, settings)
    known_sizes = sizes(files)
    reader = LabelReader(split, settings.names)
    for index, file in enumerate(files):
        image = dict(id=index, file_name=shown(file, root))
        if (size := known_sizes[file]) is not None:
            image.update(width=size[0], height=size[1])
        reader.read(image, file)
        split.coco['images'].append(image)
    reader.finish(files)
    split.findings += _without_image(split, files, folders)
    return split


def _without_image(split: DataSplit, files: Sequence[Path], folders: Sequence[Path]) -> list[Finding]:
    """Return findings about text files in the folders of images and labels that do not belong to any image."""
    named = {*folders, *(file.parent for file in files)}
    folders = sorted(folder for folder in named if not any(parent in named for parent in folder.parents))
    images = {path for folder in folders for path in folder.rglob('*') if path.suffix.lower() in IMAGE_SUFFIXES}
    images.update(files)
    known = {place for image in images for place in label_places(image)}
    stems = {place.with_suffix('') for place in known}
    orphans = {
        path
        for folder in {place.parent for folder in folders for place in label_places(folder / 'x')}
        for path in folder.rglob('*')
        if path.suffix.lower() == '.txt' and path not in known and path.name.lower() not in _OTHER_TEXTS
    }
    return [
        Finding(
            'annotation without an image',
            shown(path, split.root),
            f'is ignored: label files end in .txt, not in {path.suffix}'
            if path.with_suffix('') in stems
            else 'there is no image with this name',
        )
        for path in sorted(orphans)
    ]


def _find_images(split: DataSplit, settings: YoloSettings) -> tuple[list[Path], list[Path]]:
    """Return the images of a split, sorted, and the folders among its entries."""
    root = split.root
    entries = settings.places.get(split.name)
    if entries is None:
        raise DataError(f'{root / settings.file} has {split.name}: None; it must be the folder of the images, '
                        f'images/{split.name} for example')  # fmt: skip
    bases = _bases(split, settings)
    files, folders = [], []
    for entry in entries:
        place, changes = find_place(entry, bases)
        others = _places_of_others(split.name, settings, bases) if changes else {}
        if place is None or any(place == other or _holds(place, other) or _holds(other, place) for other in others):
            missing = normal(bases[0] / entry.replace('\\', '/'))
            raise DataError(f'{root / settings.file} has {split.name}: {entry}, but {missing} does not exist')
        if changes:
            text = f'{split.name}: {entry} has {" and ".join(changes)}; it is read as {shown(place, root)}'
            split.findings.append(Finding('read as', settings.file, text, split=split.name))
        if place.suffix.lower() in IMAGE_SUFFIXES and place.is_file():
            raise DataError(f'{root / settings.file} has {split.name}: {entry}, which is an image; it must be a '
                            'folder of images, or a text file with one image per line')  # fmt: skip
        if place.is_dir():
            folders.append(place)
            files += [path for path in place.rglob('*') if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
        else:
            files += _listed_images(split, place, bases)
    return sorted(set(files)), folders


def _bases(split: DataSplit, settings: YoloSettings) -> list[Path]:
    """Return the folders that names may be relative to: ``path``, and the folder of data.yaml."""
    if settings.base is None:
        return [split.root]
    base, changes = find_place(settings.base, [split.root])
    if base is not None and not changes:
        return list(dict.fromkeys([base, normal(split.root)]))
    text = f'path: {settings.base} does not exist here; names are read relative to the data folder'
    split.findings.append(Finding('read as', settings.file, text))
    return [split.root]


def _holds(place: Path, other: Path) -> bool:
    """Return whether a folder contains another entry. A list of images does not count, but the images in it do."""
    return place.is_dir() and other.is_dir() and place in other.parents


def _places_of_others(name: str, settings: YoloSettings, bases: Sequence[Path]) -> set[Path]:
    """Return the targets of the other splits' entries: a shortened name must not lead to one of them."""
    others = [entry for other, entries in settings.places.items() if other != name for entry in entries]
    return {place for place in (find_place(entry, bases)[0] for entry in others) if place is not None}


def _listed_images(split: DataSplit, file: Path, bases: Sequence[Path]) -> list[Path]:
    """Return the images that a list names, one per line, relative to the list, to ``path`` or to the data folder."""
    lines = file.read_text(encoding='utf-8-sig', errors='replace').splitlines()
    words = split_words(file.stem) or SPLIT_WORDS[split.name]
    finder = FileFinder(split.root, [file.parent, *bases], bases, split=words)
    names = list(filter(None, map(str.strip, lines)))
    places = finder.find(names)
    images = []
    for line in names:
        found = places[line]
        path = normal(found.path or file.parent / line.replace('\\', '/'))
        images.append(path)
        if found.path is None and found.problem:
            split.problems[shown(path, split.root)] = found.problem
    split.findings += finder.notes(shown(file, split.root), split.name)
    if not images:
        raise DataError(f'{file} names no images; it must have one path per line')
    if len(set(images)) < len(images):
        text = f'{number(len(images) - len(set(images)), "image")} listed more than once; each is used once'
        split.findings.append(Finding('read as', shown(file, split.root), text, split=split.name))
    return images
