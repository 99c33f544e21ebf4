"""The number of objects in an annotation file, from its index, because copying a large file's entries is slow."""

from __future__ import annotations

from collections.abc import Iterable

from hotcoco import COCO


def objects_of_classes(coco: COCO, cat_ids: Iterable[int]) -> dict[int, int]:
    """Return category id -> number of objects that are not crowds."""
    counts = {each['id']: each['ann_count'] - each['crowd_count'] for each in coco.stats()['per_category']}
    return {each: counts.get(each, 0) for each in cat_ids}


def objects_beyond(coco: COCO, limit: int, cat_ids: Iterable[int]) -> dict[tuple[int, int], int]:
    """Return (image id, category id) -> number of objects that are not crowds, where it is above the limit."""

    def count(image: int, **which: list[int]) -> int:
        return len(coco.get_ann_ids(img_ids=[image], iscrowd=False, **which))

    crowded = [image for image in coco.get_img_ids() if count(image) > limit]
    counts = {(image, each): count(image, cat_ids=[each]) for image in crowded for each in cat_ids}
    return {key: number for key, number in counts.items() if number > limit}
