"""Conversion of a public data set to a data folder in COCO format: train.json, val.json and images/."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
from PIL import Image, UnidentifiedImageError

from mmcnn.datasets.public.rows import PublicSet, drawn_images
from mmcnn.datasets.public.sources import SourceImage, Splits
from mmcnn.errors import DataError, UsageError
from mmcnn.image_file import read_image_file

_QUALITY = 95  # JPEG quality of re-encoded images
_ORIENTATION = 0x0112  # EXIF's tag; 1: upright


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        folder: The data folder.
        images: 'train' and 'val' -> number of images.
        boxes: 'train' and 'val' -> number of boxes.
        dropped: Number of boxes without an area, which were dropped.
        matches: 'train' and 'val' -> whether the annotations have the recorded SHA-256; None: none is recorded.
    """

    folder: Path
    images: dict[str, int]
    boxes: dict[str, int]
    dropped: int
    matches: dict[str, bool] | None

    def __str__(self) -> str:
        lines = [f'{name}: {self.images[name]:,} images, {self.boxes[name]:,} boxes' for name in self.images]
        if self.dropped:
            lines.append(f'dropped: {self.dropped:,} boxes without an area')
        if self.matches is None:
            lines.append('not verified: no SHA-256 of these annotations is recorded')
        else:
            lines += [
                f'{name}.json {"has" if same else "does not have"} the recorded SHA-256'
                for name, same in self.matches.items()
            ]
        return '\n'.join([*lines, f'the data folder is {self.folder}; to check it, use mmcnn check-data'])


def convert(row: PublicSet, source: str | Path, out: str | Path, whole: bool = False) -> Conversion:
    """Convert a copy of a public set.

    Args:
        row: The set.
        source: A folder or archive (.zip, .tar, .tar.gz ...) of the source, as cloned or downloaded.
        out: The data folder, new or empty.
        whole: Convert all images if the set is otherwise sampled; there is no recorded hash for their annotations.

    Raises:
        UsageError: The set has no conversion, or ``out`` is not empty.
        DataError: The source does not have the layout of this set, or one of its files cannot be read.
    """
    source, out = Path(source), Path(out)
    if row.read is None:
        raise UsageError(f'{row.name} cannot be converted by mmcnn: {row.note or row.source}')
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f'{out} is not an empty folder; give a new or empty folder')
    with _root(row, source) as root:
        splits = chosen(row, row.read(root), whole)
        (out / 'images').mkdir(parents=True, exist_ok=True)
        sizes: dict[Path, tuple[int, int, int, int]] = {}
        for image in (image for images in splits.values() for image in images):
            sizes[image.path] = _write_image(image.path, out / 'images' / file_name(image), row.long_side)
    cocos, dropped = as_coco(row, splits, sizes.__getitem__)
    matches = None if row.sha256 is None or (row.drawn and whole) else {}
    for name, coco in cocos.items():
        content = json.dumps(coco).encode()
        (out / f'{name}.json').write_bytes(content)
        if matches is not None:
            matches[name] = hashlib.sha256(content).hexdigest() == row.sha256[name]
    counts = ({name: len(coco[key]) for name, coco in cocos.items()} for key in ('images', 'annotations'))
    return Conversion(out, *counts, dropped, matches)


def chosen(row: PublicSet, splits: Splits, whole: bool) -> Splits:
    """Return the splits, reduced to the sampled images if the set is sampled.

    Raises:
        DataError: One of these is missing.
    """
    if not row.drawn or whole:
        return splits
    found = {}
    for name, images in splits.items():
        wanted = drawn_images(row.name)[name]
        found[name] = [image for image in images if file_name(image) in wanted]
        if missing := sorted(wanted - {file_name(image) for image in found[name]}):
            raise DataError(
                f'the source has {len(found[name])} of the {len(wanted)} images sampled for {name}; the first missing '
                f'one is {missing[0]}. --whole converts all existing images'
            )
    return found


def as_coco(
    row: PublicSet, splits: Splits, size_of: Callable[[Path], tuple[int, int, int, int]]
) -> tuple[dict[str, dict], int]:
    """Return the COCO dicts of both splits, and the number of boxes without an area, which are dropped.

    Images and categories are sorted by their names; ids count from 1 through both splits. Boxes are clipped to the
    image and have two decimals.

    Args:
        row: The set.
        splits: The images and boxes that were read.
        size_of: Returns width and height of an image, given its path, as published and as converted.
    """
    names = sorted({box.name for images in splits.values() for image in images for box in image.boxes})
    categories = [dict(id=number, name=name, supercategory='') for number, name in enumerate(names, start=1)]
    info = dict(description=row.name, source=f'{row.source} @ {row.commit}', license=row.licence)
    cocos, dropped, image_id, box_id = {}, 0, 0, 0
    for split, images in splits.items():
        coco = dict(info=info, licenses=[], categories=categories, images=[], annotations=[])
        for image in sorted(images, key=file_name):
            image_id += 1
            width, height, *new = size_of(image.path)
            coco['images'].append(dict(id=image_id, file_name=file_name(image), width=new[0], height=new[1]))
            for box in image.boxes:
                x, w = _scaled(box.corners[0], box.corners[2], width, new[0])
                y, h = _scaled(box.corners[1], box.corners[3], height, new[1])
                if w <= 0 or h <= 0:
                    dropped += 1
                    continue
                box_id += 1
                coco['annotations'].append(
                    dict(
                        id=box_id, image_id=image_id, category_id=names.index(box.name) + 1, bbox=[x, y, w, h],
                        area=round(w * h, 2), iscrowd=int(box.crowd),
                    )
                )  # fmt: skip
        cocos[split] = coco
    return cocos, dropped


def file_name(image: SourceImage) -> str:
    """Return the file name of a converted image."""
    return f'{image.path.stem}.jpg'


def shrunk(width: int, height: int, long_side: int | None) -> tuple[int, int]:
    """Return the size of a converted image."""
    scale = 1.0 if long_side is None else min(1.0, long_side / max(width, height))
    return round(width * scale), round(height * scale)


def _scaled(low: float, high: float, before: int, after: int) -> tuple[float, float]:
    """Return start and length along an axis."""
    scale = after / before
    start = round(min(max(low, 0.0), before) * scale, 2)
    return start, round(min(max(high, 0.0), before) * scale - start, 2)


def _write_image(path: Path, target: Path, long_side: int | None) -> tuple[int, int, int, int]:
    """Copy an image, or re-encode it if it is shrunk or not an upright JPEG with three channels; return both sizes."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            as_it_is = image.format == 'JPEG' and image.mode == 'RGB' and image.getexif().get(_ORIENTATION, 1) == 1
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f'{path} is not a readable image: {error}', str(path)) from error
    if as_it_is and shrunk(width, height, long_side) == (width, height):
        shutil.copyfile(path, target)
        return width, height, width, height
    pixels = read_image_file(path)
    height, width = pixels.shape[:2]
    size = shrunk(width, height, long_side)
    if size != (width, height):
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    target.write_bytes(cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes())
    return width, height, *size


@contextmanager
def _root(row: PublicSet, source: Path) -> Iterator[Path]:
    """Provide the folder of the source, unpacked if it is an archive; it may be a subfolder of the given one."""
    if source.is_file():
        with tempfile.TemporaryDirectory() as folder:
            try:
                # Python's filter for tar files; zip files are never unpacked outside of the folder.
                keywords = {} if source.suffix == '.zip' else dict(filter='data')
                shutil.unpack_archive(source, folder, **keywords)
            except (shutil.ReadError, OSError, ValueError) as error:
                raise DataError(f'{source} is not an archive that can be unpacked: {error}', str(source)) from error
            yield _marked(row, Path(folder), source)
    else:
        yield _marked(row, source, source)


def _marked(row: PublicSet, folder: Path, source: Path) -> Path:
    if not folder.is_dir():
        raise DataError(f'{source} does not exist; give a clone or an archive of {row.source}')
    below = sorted(path for path in (*folder.glob('*'), *folder.glob('*/*')) if path.is_dir())
    for root in (folder, *below):
        if (root / row.marker).exists():
            return root
    raise DataError(f'{source} has no {row.marker}: it is not a copy of {row.source}')
