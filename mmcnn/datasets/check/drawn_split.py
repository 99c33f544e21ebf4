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
    """A draw as it is recorded in a run.

    Attributes:
        val_fraction: Share of the images to validate on.
        split_seed: Of the draw.
        held_out: Digest of the names of the images to validate on.
        images: Digest of what all images show, by which the data is known in another place.
    """

    val_fraction: float
    split_seed: int
    held_out: str
    images: str

    def flags(self) -> str:
        """Return the options in words."""
        return f'val_fraction={self.val_fraction:g} and split_seed={self.split_seed}'


def draw_split(
    whole: DataSplit, draw: Draw, facts: Mapping[Path, ImageFact]
) -> tuple[DataSplit, DataSplit, DrawnSplit]:
    """Parts a split into images to train and to validate on, copies of an image together.

    The draw is stored by folder, fraction and seed, and used again as long as an image of it is there; images that came
    later are trained on, copies of images to validate on excepted.

    Args:
        whole: What was read, all of it.
        draw: Which.
        facts: Of the images, for what they show.

    Raises:
        DataError: There are not two different images, or the draw cannot be stored.
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
        how = 'as drawn before' if held_out else 'drawn'
        if not held_out:
            held_out, new = _drawn(whole, digests, draw), []
            _store(file, key, digests, held_out)
    drawn = DrawnSplit(*draw, _digest(sorted(held_out)), digest_of_images(whole, facts))
    text = (
        f'{len(held_out)} of {number(len(digests), "image")} are to validate on, {how} with {drawn.flags()} and kept '
        f'in {file}'
    )
    if new:
        text += f'; {number(len(new), "image")} came later'
    inside = {index for index, name in names.items() if name in held_out}
    inside |= _with_ids_of(whole, inside)
    train, val = (_cut(whole, title, name, inside) for name in ('train', 'val'))
    train.findings = [*whole.findings, Finding('read as', title, text)]
    return train, val, drawn


def as_val_alone(val: DataSplit, train: DataSplit) -> DataSplit:
    """Return the drawn validation images with the findings about all of the data, if training images are unused."""
    return replace(val, findings=[replace(finding, split='val') for finding in train.findings])


def whole_as_val(whole: DataSplit) -> DataSplit:
    """All images as those to validate on, for data on which nothing is trained, with a note."""
    text = f'all {number(len(whole.coco["images"]), "image")} are to evaluate on: the folder does not part them'
    note = Finding('read as', whole.title, text)
    return as_val_alone(replace(whole, name='val'), replace(whole, findings=[*whole.findings, note]))


def digest_of_images(whole: DataSplit, facts: Mapping[Path, ImageFact]) -> str:
    """Equal for data sets whose images have the same names and show the same."""
    return _digest(sorted(_digests(whole, _names(whole), facts).items()))


def _names(whole: DataSplit) -> dict[int, str]:
    """Place in the list of images -> file, as messages show it."""
    return {
        index: shown(whole.image_path(image), whole.root)
        for index, image in enumerate(whole.coco['images'])
        if isinstance(image, dict) and isinstance(image.get('file_name'), str) and image['file_name']
    }


def _digests(whole: DataSplit, names: Mapping[int, str], facts: Mapping[Path, ImageFact]) -> dict[str, str]:
    """File -> what it shows; of one that cannot be read its name."""
    images = whole.coco['images']
    return {name: facts[whole.image_path(images[index])].digest or name for index, name in names.items()}


def _digest(entries: Sequence) -> str:
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()[:16]


def _with_ids_of(whole: DataSplit, inside: set[int]) -> set[int]:
    """Images that share the id of one to validate on: apart, each would hide that the other has its boxes."""
    images = whole.coco['images']
    ids = {each for each in (images[index].get('id') for index in inside) if isinstance(each, int)}
    return {index for index, image in enumerate(images) if isinstance(image, dict) and _is_in(image.get('id'), ids)}


def _drawn(whole: DataSplit, digests: Mapping[str, str], draw: Draw) -> set[str]:
    groups: dict[str, list[str]] = {}
    for name in sorted(digests):
        groups.setdefault(digests[name], []).append(name)
    if len(groups) < 2:
        raise DataError(f'{whole.title} holds {number(len(groups), "different image")}: none can be set apart to '
                        'validate on')  # fmt: skip
    order = list(groups.values())
    random.Random(draw.seed).shuffle(order)
    wanted, held_out = max(1, round(draw.fraction * len(digests))), set()
    for group in order[:-1]:
        if len(held_out) < wanted:
            held_out.update(group)
    return held_out


def _still_held_out(stored: dict | None, digests: Mapping[str, str]) -> set[str]:
    """Return the images to validate on of a stored draw that are there, and new copies of them."""
    if stored is None:
        return set()
    shows = set(stored['val'].values())
    return {
        name
        for name, digest in digests.items()
        if name in stored['val'] or (name not in stored['train'] and digest in shows)
    }


def _stored(file: Path) -> dict | None:
    """``train`` and ``val``: file -> what it shows."""
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
            f'{file} cannot be written: {error.strerror}. Which images are to validate on is kept there; set '
            'XDG_CACHE_HOME to a folder that can be written to'
        ) from error


def _cut(whole: DataSplit, title: str, name: str, inside: set[int]) -> DataSplit:
    """Return the images of one side of a draw with their annotations; those of no known image are trained on."""
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
