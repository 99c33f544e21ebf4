"""Validation images for data that has none: drawn once and kept in the cache folder for all later runs."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from mmcnn.datasets.check.images import ImageFact
from mmcnn.datasets.folders.cache_folder import cache_folder, one_at_a_time, write_cached
from mmcnn.datasets.folders.file_names import shown
from mmcnn.datasets.folders.findings import Finding, number
from mmcnn.datasets.folders.split import DataSplit
from mmcnn.errors import DataError


class Draw(NamedTuple):
    """The draw of validation images: their fraction, between 0 and 1, and the seed."""

    fraction: float
    seed: int = 0


@dataclass(frozen=True)
class DrawnSplit:
    """A draw as recorded in a run.

    Attributes:
        val_fraction: Fraction of the images for validation.
        split_seed: Seed of the draw.
        held_out: Digest of the names of the validation images.
        images: Digest of the content of all images, which identifies the data in another place.
    """

    val_fraction: float
    split_seed: int
    held_out: str
    images: str

    def flags(self) -> str:
        """Return the options as a phrase."""
        return f'val_fraction={self.val_fraction:g} and split_seed={self.split_seed}'


def draw_split(
    whole: DataSplit, draw: Draw, facts: Mapping[Path, ImageFact]
) -> tuple[DataSplit, DataSplit, DrawnSplit]:
    """Divide a split into training and validation images; copies of an image stay together.

    The draw is stored by folder, fraction and seed, and reused as long as one of its images exists; images that were
    added later are used for training, except for copies of validation images.

    Args:
        whole: The split of all images.
        draw: Fraction and seed.
        facts: Facts about the images, for their content.

    Raises:
        DataError: There are fewer than two different images, or the draw cannot be stored.
    """
    names = _names(whole)
    digests = _digests(whole, names, facts)
    title = whole.title.removesuffix(f' ({whole.name})')
    key = json.dumps([os.path.abspath(whole.root), title, *draw])
    file = cache_folder() / 'splits' / f'{hashlib.sha256(key.encode(errors="replace")).hexdigest()[:16]}.json'
    with one_at_a_time(file.with_suffix('.lock')):
        stored = _stored(file)
        held_out = _still_held_out(stored, digests)
        new = [name for name in digests if stored and name not in stored['train'] and name not in stored['val']]
        how = 'drawn before' if held_out else 'drawn'
        if not held_out:
            held_out, new = _drawn(whole, digests, draw), []
            _store(file, key, digests, held_out)
    drawn = DrawnSplit(*draw, _digest(sorted(held_out)), digest_of_images(whole, facts))
    text = (
        f'{len(held_out)} of {number(len(digests), "image")} are for validation, {how} with {drawn.flags()} and stored '
        f'in {file}'
    )
    if new:
        text += f'; {number(len(new), "image")} were added later'
    inside = {index for index, name in names.items() if name in held_out}
    inside |= _with_ids_of(whole, inside)
    train, val = (_cut(whole, title, name, inside) for name in ('train', 'val'))
    train.findings = [*whole.findings, Finding('read as', title, text)]
    return train, val, drawn


def as_val_alone(val: DataSplit, train: DataSplit) -> DataSplit:
    """Return the drawn validation images with the findings about all of the data, if training images are not used."""
    return replace(val, findings=[replace(finding, split='val') for finding in train.findings])


def whole_as_val(whole: DataSplit) -> DataSplit:
    """Return all images as validation images, for data that is not used for training, with a note."""
    text = f'all {number(len(whole.coco["images"]), "image")} are evaluated: the folder has no splits'
    note = Finding('read as', whole.title, text)
    return as_val_alone(replace(whole, name='val'), replace(whole, findings=[*whole.findings, note]))


def digest_of_images(whole: DataSplit, facts: Mapping[Path, ImageFact]) -> str:
    """Return a digest that is equal for data sets whose images have the same names and content."""
    return _digest(sorted(_digests(whole, _names(whole), facts).items()))


def _names(whole: DataSplit) -> dict[int, str]:
    """Return index in the list of images -> file, as in messages."""
    return {
        index: shown(whole.image_path(image), whole.root)
        for index, image in enumerate(whole.coco['images'])
        if isinstance(image, dict) and isinstance(image.get('file_name'), str) and image['file_name']
    }


def _digests(whole: DataSplit, names: Mapping[int, str], facts: Mapping[Path, ImageFact]) -> dict[str, str]:
    """Return file -> digest of its content, or its name if it cannot be read."""
    images = whole.coco['images']
    return {name: facts[whole.image_path(images[index])].digest or name for index, name in names.items()}


def _digest(entries: Sequence) -> str:
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()[:16]


def _with_ids_of(whole: DataSplit, inside: set[int]) -> set[int]:
    """Return the images that share an id with a validation image: in different splits, each would hide the conflict."""
    images = whole.coco['images']
    ids = {each for each in (images[index].get('id') for index in inside) if isinstance(each, int)}
    return {index for index, image in enumerate(images) if isinstance(image, dict) and _is_in(image.get('id'), ids)}


def _drawn(whole: DataSplit, digests: Mapping[str, str], draw: Draw) -> set[str]:
    groups: dict[str, list[str]] = {}
    for name in sorted(digests):
        groups.setdefault(digests[name], []).append(name)
    if len(groups) < 2:
        raise DataError(f'{whole.title} has only {number(len(groups), "different image")}: none can be held out for '
                        'validation')  # fmt: skip
    order = list(groups.values())
    random.Random(draw.seed).shuffle(order)
    wanted, held_out = max(1, round(draw.fraction * len(digests))), set()
    for group in order[:-1]:
        if len(held_out) < wanted:
            held_out.update(group)
    return held_out


def _still_held_out(stored: dict | None, digests: Mapping[str, str]) -> set[str]:
    """Return the existing validation images of a stored draw, and new copies of them."""
    if stored is None:
        return set()
    shows = set(stored['val'].values())
    return {
        name
        for name, digest in digests.items()
        if name in stored['val'] or (name not in stored['train'] and digest in shows)
    }


def _stored(file: Path) -> dict | None:
    """Return ``train`` and ``val``: file -> digest of its content."""
    try:
        stored = json.loads(file.read_bytes())
        return stored if all(isinstance(stored[name], dict) for name in ('train', 'val')) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _store(file: Path, key: str, digests: Mapping[str, str], held_out: set[str]) -> None:
    parts = {
        name: {file: digest for file, digest in digests.items() if (file in held_out) == (name == 'val')}
        for name in ('train', 'val')
    }
    try:
        write_cached(file, json.dumps(dict(drawn_by=json.loads(key), **parts), indent=1).encode())
    except OSError as error:
        raise DataError(
            f'cannot write {file}: {error.strerror}. It stores which images are for validation; set XDG_CACHE_HOME to '
            'a writable folder'
        ) from error


def _cut(whole: DataSplit, title: str, name: str, inside: set[int]) -> DataSplit:
    """Return the images of one side of a draw with their annotations; annotations of unknown images go to training."""
    val = name == 'val'
    images, annotations = whole.coco['images'], whole.coco['annotations']
    ids = {each for each in (images[index].get('id') for index in inside) if isinstance(each, int)}
    belongs = [(isinstance(each, dict) and _is_in(each.get('image_id'), ids)) == val for each in annotations]
    coco = {
        **whole.coco,
        'images': [image for index, image in enumerate(images) if (index in inside) == val],
        'annotations': _where(annotations, belongs),
        'categories': [dict(each) if isinstance(each, dict) else each for each in whole.coco['categories']],
    }
    places = None if whole.places is None else _where(whole.places, belongs)
    return replace(whole, name=name, title=f'{title} ({name})', coco=coco, places=places, findings=[], changed=True)


def _is_in(value: object, ids: set[int]) -> bool:
    return isinstance(value, int) and value in ids


def _where(entries: Sequence, chosen: Sequence[bool]) -> list:
    return [entry for entry, is_chosen in zip(entries, chosen, strict=True) if is_chosen]
