"""Nonstandard COCO entries and their meaning: ids as text, boxes as text, key names."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from mmcnn.datasets.folders.findings import Finding, number
from mmcnn.datasets.folders.split import DataSplit

#: The lists of a COCO file.
KEYS = ('images', 'annotations', 'categories')
#: For each list, the keys that refer to the ids of another one.
_REFERENCES = {'image_id': 'images', 'category_id': 'categories'}
_INTEGER = re.compile(r'\s*[+-]?\d{1,18}(\.0*)?\s*')
_SINGULAR = {'images': 'image', 'annotations': 'annotation', 'categories': 'category'}


def read_entries(split: DataSplit) -> Iterator[Finding]:
    """Convert unambiguous nonstandard entries of a split to COCO format, with one note for each kind.

    - Ids and references to them: integers as text or with a decimal point (``"1"``, ``1.0``). Texts that are not
      numbers are numbered in order, from 1, if all ids of a list are different texts. Annotations are also numbered
      if none of them has an id. An id that two entries would share, ``1`` and ``"1"``, is not changed, which is an
      error.
    - ``bbox`` and ``area`` as text; ``iscrowd`` as true or false, as text or with a decimal point; sizes with a decimal
      point or as text.

    Args:
        split: Its dict is changed in place, and ``changed`` is set.
    """
    notes = _Notes(split)
    meanings = {key: _read_ids(split, key, notes) for key in KEYS}
    for index, annotation in _dicts(split, 'annotations'):
        if _is_plain(annotation):
            continue
        for key, of in _REFERENCES.items():
            value = annotation.get(key)
            if (meaning := _meaning(value, meanings[of])) is not None:
                notes.change('annotations', index, key, meaning)
        for key, read in (('bbox', _box), ('area', _decimal), ('iscrowd', _flag)):
            if key in annotation and (meaning := read(annotation[key])) is not None:
                notes.change('annotations', index, key, meaning)
    for index, image in _dicts(split, 'images'):
        for key in ('width', 'height'):
            if (meaning := _whole(image.get(key))) is not None:
                notes.change('images', index, key, meaning)
    yield from notes.findings()


def misnamed(entry: dict, key: str) -> str:
    """Return a phrase with the other name under which an entry seems to have a key; '' if there is none.

    ``filename`` is like ``file_name``, ``imageId`` like ``image_id``, ``annotation`` like ``annotations``.
    """
    plain = {re.sub(r'[^a-z0-9]', '', each.lower()): each for each in entry if isinstance(each, str)}
    wanted = re.sub(r'[^a-z0-9]', '', key)
    found = difflib.get_close_matches(wanted, plain, n=1, cutoff=0.75)
    return f"its key is `{plain[found[0]]}`, COCO's is `{key}`" if found and plain[found[0]] != key else ''


def missing_lists(coco: dict) -> str:
    """Return which of COCO's three lists a file lacks, as the rest of a sentence about it; '' if it has all."""
    absent = [key for key in KEYS if not isinstance(coco.get(key), list)]
    named = {key: misnamed({name: value for name, value in coco.items() if name not in KEYS}, key) for key in absent}
    kinds = [f'{key} is a JSON {type(coco[key]).__name__}' for key in absent if key in coco]
    causes = [*(cause for cause in named.values() if cause), *kinds]
    rest = f': {"; ".join(causes)}' if causes else f'; COCO format has {", ".join(KEYS)}'
    return f'has no list of {", ".join(absent)}{rest}' if absent else ''


class _Notes:
    """Changes to a split, counted by kind, with the first of each."""

    def __init__(self, split: DataSplit) -> None:
        self.split = split
        self._counts: Counter[tuple[str, str]] = Counter()
        self._first: dict[tuple[str, str], str] = {}

    def change(self, of: str, index: int, key: str, meaning: Any, why: str = '') -> None:
        """Set a value of an entry."""
        entry = self.split.coco[of][index]
        kind = (of, key)
        self._counts[kind] += 1
        if kind not in self._first:
            written = f'{entry[key]!r} ' if key in entry else ''
            self._first[kind] = f'{written}as {meaning!r}{why} (entry {index}, counted from 0)'
        entry[key] = meaning
        self.split.changed = True

    def findings(self) -> Iterator[Finding]:
        for (of, key), count in self._counts.items():
            text = f'{key} of {number(count, _SINGULAR[of])} was converted, the first: '
            yield Finding('read as', self.split.title, text + self._first[of, key], split=self.split.name)


def _dicts(split: DataSplit, key: str) -> Iterator[tuple[int, dict]]:
    return ((index, entry) for index, entry in enumerate(split.coco[key]) if isinstance(entry, dict))


def _is_plain(annotation: dict) -> bool:
    """Return whether all values of an annotation are plain numbers where COCO has numbers."""
    box = annotation.get('bbox')
    return (
        type(annotation.get('image_id'))
        is type(annotation.get('category_id'))
        is type(annotation.get('iscrowd'))
        is int
        and type(annotation.get('area')) is not str
        and type(box) is list
        and str not in map(type, box)
    )


def _read_ids(split: DataSplit, of: str, notes: _Notes) -> dict[Any, int | None]:
    """Convert a list's ids to numbers.

    Returns:
        Possible references, as a number or as a text that is not one -> the id; None if two entries share it.
    """
    entries = list(_dicts(split, of))
    written = [entry.get('id') for _, entry in entries]
    if of == 'annotations' and entries and all('id' not in entry for _, entry in entries):
        for place, (index, _) in enumerate(entries, start=1):
            notes.change(of, index, 'id', place, ', its place')
        return {}
    numbers = [each if type(each) is int else _whole(each) for each in written]
    if None in numbers or len(set(numbers)) < len(numbers):
        texts = {each for each in written if isinstance(each, str) and each.strip()}
        if len(texts) == len(written) and _refers_by_text(split, of):
            for place, (index, _) in enumerate(entries, start=1):
                notes.change(of, index, 'id', place, ', its place')
            return {text: place for place, text in enumerate(written, start=1)}
    uses = Counter(each for each in numbers if each is not None)
    plain = Counter(each for each in written if type(each) is int)
    meanings: dict[Any, int | None] = {}
    for (index, _), value, meaning in zip(entries, written, numbers, strict=True):
        if meaning is None:
            continue
        ambiguous = uses[meaning] > 1 and plain[meaning] < uses[meaning]
        meanings[meaning] = None if ambiguous else meaning
        if type(value) is not int and not ambiguous:
            notes.change(of, index, 'id', meaning)
    return meanings


def _refers_by_text(split: DataSplit, of: str) -> bool:
    """Return whether all references to a list are texts, because a number could be the index of an entry."""
    keys = [key for key, target in _REFERENCES.items() if target == of]
    return all(isinstance(entry.get(key), str) for _, entry in _dicts(split, 'annotations') for key in keys)


def _meaning(value: Any, meanings: dict[Any, int | None]) -> int | None:
    """Return the id of a reference that is written in another form; None: leave it unchanged."""
    if type(value) is int or not isinstance(value, str | float):
        return None
    if isinstance(value, str) and meanings.get(value) is not None:
        return meanings[value]
    whole = _whole(value)
    return None if whole is None else meanings.get(whole)


def _whole(value: Any) -> int | None:
    """Return the integer that a text or a number with a decimal point represents; None otherwise, also for integers."""
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value.strip().partition('.')[0])
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return None


def _decimal(value: Any) -> float | None:
    if not isinstance(value, str):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _flag(value: Any) -> int | None:
    if isinstance(value, bool):
        return int(value)
    known: Callable[[str], int | None] = dict(true=1, false=0).get
    meaning = _whole(value) if not isinstance(value, str) or _INTEGER.fullmatch(value) else known(value.strip().lower())
    return meaning if meaning in (0, 1) else None


def _box(value: Any) -> list[float] | None:
    """Return four numbers from texts, or from one text: '[1, 2, 3, 4]', '1 2 3 4'."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip().startswith('[') else re.split(r'[,;]\s*|\s+', value.strip())
        except (ValueError, RecursionError):
            return None
        written = True
    else:
        written = isinstance(value, list) and any(isinstance(each, str) for each in value)
    if not written or not isinstance(value, list) or len(value) != 4:
        return None
    sides = [_decimal(each) if isinstance(each, str) else each for each in value]
    fine = all(type(each) in (int, float) and math.isfinite(each) for each in sides)
    return [float(each) for each in sides] if fine else None
