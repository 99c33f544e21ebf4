"""The choice of classes among a data set's categories: the requested ones, without a supercategory of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mmcnn.datasets.folders.findings import Finding, number
from mmcnn.datasets.folders.split import DataSplit
from mmcnn.errors import UsageError
from mmcnn.nearest import nearest

#: Chooses the classes, in their order, from the names of a split's categories and its title.
Choice = Callable[[Sequence[str], str], Sequence[str]]


def leave_out_grouping(splits: Sequence[DataSplit]) -> Iterator[Finding]:
    """Remove a first category that only groups all others, as in exports of Roboflow.

    In this case, every other category has its name as ``supercategory`` and no box of any split belongs to it. A
    category that merely has no boxes stays.
    """
    groups = [_grouping(split) for split in splits]
    names = {group['name'] for group in groups if group is not None}
    if len(names) != 1:
        return
    for split, group in zip(splits, groups, strict=True):
        if group is None and names & {each['name'] for each in split.coco['categories'] if _is_named(each)}:
            return  # it is a class
    for split, group in zip(splits, groups, strict=True):
        if group is None:
            continue
        split.coco['categories'] = [each for each in split.coco['categories'] if each is not group]
        split.changed = True
        text = (
            f'category {group["id"]}, {group["name"]!r}, is not used as a class: it has no boxes, and all others '
            'have it as their supercategory'
        )
        yield Finding('read as', split.title, text, group['id'], split.name)


def names_of(words: str | Sequence[str], known: Sequence[str], where: str) -> list[str]:
    """Return the requested classes in the order of ``known``; an item is a name or several names joined by commas.

    Args:
        words: The requested classes.
        known: All names.
        where: Description of where they are, for the message.

    Raises:
        UsageError: There is no such class, or none is requested.
    """
    names = []
    for word in [words] if isinstance(words, str) else words:
        names += [word] if word in known else [each.strip() for each in word.split(',') if each.strip()]
    if not names:
        raise UsageError(f'classes={words!r}: name at least one of {where}')
    if unknown := next((name for name in names if name not in known), None):
        raise UsageError(f'classes={unknown!r}: {where} has no such class; {nearest(unknown, known)}')
    return [name for name in known if name in names]


def choose_classes(split: DataSplit, choice: Choice) -> Iterator[Finding]:
    """Drop the boxes of all other categories, and put the chosen ones in order.

    Images that lose all boxes stay, as background. A chosen class that is missing in the split becomes a category
    without boxes.

    Args:
        split: Changed in place.
        choice: Called with the names of the categories and ``split.title``.
    """
    named = {each['name']: each for each in split.coco['categories'] if _is_named(each)}
    if len(named) < len(split.coco['categories']):
        return  # some have errors, so nothing will be trained
    chosen = list(choice(list(named), split.title))
    if chosen == list(named):
        return
    unused = max((each['id'] for each in named.values()), default=0)
    absent = [name for name in chosen if name not in named]
    added = {name: dict(id=unused + i, name=name) for i, name in enumerate(absent, start=1)}
    left = {each['id'] for name, each in named.items() if name not in chosen}
    before = split.coco['annotations']
    kept = [not (isinstance(box, dict) and _in(box.get('category_id'), left)) for box in before]
    emptied = _images(before) - _images([box for box, stays in zip(before, kept, strict=True) if stays])
    split.coco['annotations'] = [box for box, stays in zip(before, kept, strict=True) if stays]
    if split.places:
        split.places = [place for place, stays in zip(split.places, kept, strict=True) if stays]
    split.coco['categories'] = [named.get(name) or added[name] for name in chosen]
    split.changed = True
    gone = len(before) - len(split.coco['annotations'])
    if left:
        text = (
            f'{len(chosen)} of {number(len(named), "class")}; dropped boxes of the others: {gone:,}; images without '
            f'remaining boxes, used as background if the config trains on such images: {len(emptied):,}'
        )
        yield Finding('classes in use', split.title, text, split=split.name)


def _grouping(split: DataSplit) -> dict | None:
    categories = split.coco['categories']
    if len(categories) < 2 or not all(map(_is_named, categories)):
        return None
    first, *others = categories
    if any(each.get('supercategory') != first['name'] for each in others) or any(
        each['name'] == first['name'] for each in others
    ):
        return None
    used = any(isinstance(box, dict) and box.get('category_id') == first['id'] for box in split.coco['annotations'])
    return None if used else first


def _is_named(category: object) -> bool:
    return isinstance(category, dict) and type(category.get('id')) is int and isinstance(category.get('name'), str)


def _in(value: object, ids: set[int]) -> bool:
    return type(value) is int and value in ids


def _images(boxes: Sequence[object]) -> set[int]:
    ids = (box.get('image_id') for box in boxes if isinstance(box, dict))
    return {each for each in ids if type(each) is int}
