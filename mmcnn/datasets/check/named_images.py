"""Checks of the images that a split refers to: missing, of another size, listed twice, or in both splits."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmcnn.datasets.check.annotations import is_sized
from mmcnn.datasets.check.images import ImageFact
from mmcnn.datasets.folders.findings import Finding
from mmcnn.datasets.folders.split import DataSplit


def named_images(split: DataSplit) -> list[tuple[int, dict]]:
    """Return the entries that name an image, with their indices in the list."""
    return [
        (index, image)
        for index, image in enumerate(split.coco['images'])
        if isinstance(image, dict) and isinstance(image.get('file_name'), str) and image['file_name']
    ]


def check_named_images(
    split: DataSplit, images: Sequence[tuple[int, dict]], facts: dict[Path, ImageFact]
) -> Iterator[Finding]:
    """Yield findings about images that are unusable or have another size; missing sizes are filled in."""
    for index, image in images:
        fact, shown = facts[split.image_path(image)], split.shown_image(image)
        who = dict(id=image.get('id'), split=split.name, entry=('images', index))
        if fact.problem is not None:
            why = split.problems.get(image['file_name']) if fact.problem == 'missing image' else None
            text = f'image {image.get("id")} {fact.detail}'
            yield Finding(fact.problem, shown, f'{text}: {why}' if why else text, **who)
        elif image.get('width') is None or image.get('height') is None:
            image.update(width=fact.width, height=fact.height)
            split.changed = True
        elif is_sized(image) and (image['width'], image['height']) != (fact.width, fact.height):
            size = f'{image["width"]} x {image["height"]}'
            turned = '' if (image['width'], image['height']) != fact.stored else (
                ' after its EXIF rotation: size and boxes must be those of the rotated image'
            )  # fmt: skip
            text = f'image {image.get("id")} has {fact.width} x {fact.height} px{turned}, but {size} in the annotations'
            yield Finding('wrong size', shown, text, **who)


def check_named_twice(split: DataSplit, images: Sequence[tuple[int, dict]]) -> Iterator[Finding]:
    """Yield findings about images that several entries name: each entry has only some of the boxes."""
    first: dict[str, dict] = {}
    for _, image in images:
        other = first.setdefault(os.path.normpath(split.image_path(image)), image)
        if other is not image and other.get('id') != image.get('id'):
            text = f'is the image of both id {other.get("id")} and id {image.get("id")}, each with its own boxes'
            yield Finding('image named twice', split.shown_image(image), text, image.get('id'), split.name)


def check_shared_images(
    train: DataSplit,
    val: DataSplit,
    train_images: Sequence[tuple[int, dict]],
    val_images: Sequence[tuple[int, dict]],
    facts: dict[Path, ImageFact],
) -> Iterator[Finding]:
    """Yield training images that also appear in val, by content: metrics would not be those of new images."""
    held_out = {facts[val.image_path(image)].digest: image for _, image in val_images}
    for index, image in train_images:
        digest = facts[train.image_path(image)].digest
        if digest and digest in held_out:
            other = held_out[digest]
            shown, same = train.shown_image(image), f'image {other.get("id")} of {val.title}, {val.shown_image(other)}'
            text = f'image {image.get("id")} is the same as {same}'
            yield Finding('train image in val', shown, text, image.get('id'), 'train', ('images', index))
