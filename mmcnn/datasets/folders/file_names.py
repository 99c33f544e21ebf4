"""Names of files, folders and splits in users' files: components, spellings, words for splits."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path, PureWindowsPath

from mmcnn.datasets.folders.findings import Finding

#: The words for each split in names of folders, files and keys; the first existing one is used.
SPLIT_WORDS = {
    'train': ('train', 'training'),
    'val': ('val', 'valid', 'validation', 'dev', 'test', 'testing'),
}
#: Differences between a name and that of its file.
WINDOWS = 'Windows separators'
OTHER_MACHINE = 'folders of another machine'
OTHER_FOLDERS = 'other folders'
SPELLING = 'other case or accents'
ENDING, NO_ENDING, AN_ENDING = 'another suffix', 'no suffix', 'a suffix'
#: Words for the same split; a data folder may have all three.
_KINDS = ({'train', 'training'}, {'val', 'valid', 'validation', 'dev'}, {'test', 'testing'})


def find_place(written: str, bases: Sequence[Path]) -> tuple[Path | None, tuple[str, ...]]:
    """Return the folder or list of images that a user's file names, and how the name was corrected.

    ``../`` before a name is dropped if nothing is there: exports write it before folders that are beside their file.

    Args:
        written: The name.
        bases: Folders that it may be relative to.
    """
    spellings = spellings_of(written)
    for name, changes in spellings:
        for base in bases:
            if os.path.exists(place := normal(base / name)):
                return place, changes
    parts, (name, changes) = parts_of(written), spellings[-1]
    for start in range(len(parts)):
        for base in bases:
            if os.path.exists(place := base.joinpath(*parts[start:])):
                cut = start > 0 or bool(PureWindowsPath(name).anchor)
                return place, (*changes, OTHER_MACHINE) if cut else changes
    return None, ()


def split_words(text: str) -> set[str]:
    """Return the words of :data:`SPLIT_WORDS` in a name: 'train' of ``instances_train2017.json``."""
    letters = ''.join(each if each.isalpha() else ' ' for each in text.lower())
    return set(letters.split()) & {word for words in SPLIT_WORDS.values() for word in words}


def means_other_split(words: Collection[str], own: Collection[str]) -> bool:
    """Return whether all words for splits belong to splits other than ``own``; False if there are none."""
    kinds, wanted = ({i for i, kind in enumerate(_KINDS) if kind & set(each)} for each in (words, own))
    return bool(kinds and wanted) and not kinds & wanted


def used_to_validate(title: str, word: str) -> list[Finding]:
    """Return a note about the split used for validation, if it is not called val."""
    if word == 'val':
        return []
    return [Finding('read as', title, 'is used for validation, because there is no split called val', split='val')]


def shown(path: Path, root: Path) -> str:
    """Return a path for messages: relative to the data folder if it is below it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def normal(path: Path) -> Path:
    """Return the path without ``.`` and ``..``."""
    return Path(os.path.normpath(path))


def parts_of(written: str) -> list[str]:
    """Return the names in a path of any system, without drive, root, ``.`` and ``..``."""
    path = PureWindowsPath(written)
    return [part for part in path.parts if part not in (path.anchor, '.', '..')]


def spellings_of(written: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return a name unchanged and, if it differs, with this system's separators; each with the changes as phrases."""
    plain = written.replace('\\', '/')
    return [(written, ())] + ([(plain, (WINDOWS,))] if plain != written else [])


def is_foreign(written: str) -> bool:
    """Return whether a path is absolute or leaves its folder: its folders belong to the machine that wrote it."""
    path = PureWindowsPath(written)
    return bool(path.anchor) or '..' in path.parts


def same(name: str, other: str) -> bool:
    """Return whether two names are equal except for case and the encoding of accents."""
    return key_of(name) == key_of(other)


def key_of(name: str) -> str:
    """Return a key that ignores the case of names and the encoding of their accents, which differs on macOS."""
    return unicodedata.normalize('NFC', name).casefold()
