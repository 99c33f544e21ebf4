"""How a name that is written in a user's file finds its file on this machine: one rule for the readers of all layouts.

A name is taken as it is written wherever a file of that name is there. Only else is it read otherwise: with Windows'
separators, without the folders of another machine, in another case, with another ending; and only where exactly one
file can be meant.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PureWindowsPath

from mmcnn.datasets.folders.findings import Finding, number
from mmcnn.datasets.image_file import IMAGE_SUFFIXES

#: The words for each split that folders, files and keys are named by; the first that is there counts.
SPLIT_WORDS = {
    'train': ('train', 'training'),
    'val': ('val', 'valid', 'validation', 'dev', 'test', 'testing'),
}
WINDOWS = 'Windows separators'
OTHER_MACHINE = 'folders of another machine'
OTHER_FOLDERS = 'other folders'
SPELLING = 'upper and lower case or accents'
ENDING, NO_ENDING, AN_ENDING = 'another ending', 'no ending', 'an ending'
_SHOWN = 3


@dataclass(frozen=True)
class Found:
    """Where a written name leads.

    Attributes:
        path: The file; None: there is none, or it cannot be told which is meant.
        changes: How the name differs from the file's, in words; none: it is as it is written.
        problem: Why there is no path, as the rest of a sentence about the name; '' where nothing more can be said.
    """

    path: Path | None
    changes: tuple[str, ...] = ()
    problem: str = ''


class FileFinder:
    """Finds files by names that were written elsewhere, and remembers what it read otherwise than it is written.

    Args:
        root: The data folder, for messages.
        folders: What names may be relative to; the first that has the file counts.
        below: Folders in which a file is looked for that is in none of ``folders``.
        suffixes: Of the files, in lower case.
        has_ending: The names are written with their endings; False: without.
        also: Other folders that names are tried to be relative to; what is found there is said.
    """

    def __init__(
        self,
        root: Path,
        folders: Sequence[Path],
        below: Sequence[Path],
        suffixes: Collection[str] = IMAGE_SUFFIXES,
        has_ending: bool = True,
        also: Sequence[Path] = (),
    ) -> None:
        self.root, self.folders, self.below, self.also = root, list(dict.fromkeys(folders)), below, also
        self.suffixes, self.has_ending = suffixes, has_ending
        self._read_as: dict[tuple[str, ...], list[tuple[str, Path]]] = {}

    def find(self, written: str) -> Found:
        """The file that a name stands for; what differs is remembered for :meth:`notes`."""
        found = self._find(written)
        if found.path is not None and found.changes:
            self._read_as.setdefault(found.changes, []).append((written, found.path))
        return found

    def forget(self, written: str) -> None:
        """Takes a name out of what :meth:`notes` says: it was not used after all."""
        for names in self._read_as.values():
            names[:] = [each for each in names if each[0] != written]

    def notes(self, title: str, split: str) -> list[Finding]:
        """A note for each kind of change: how many names, and the first of them."""
        return [
            Finding(
                'read as',
                title,
                f'{number(len(names), "file name")} with {" and ".join(changes)}: "{names[0][0]}" is read as '
                f'{shown(names[0][1], self.root)}',
                split=split,
            )
            for changes, names in self._read_as.items()
            if names
        ]

    def _find(self, written: str) -> Found:
        if self.has_ending:
            for name, changes in _spellings(written):
                for folder in (*self.folders, *self.also):
                    if os.path.isfile(path := os.path.join(folder, name)):
                        usual = folder in self.folders or os.path.isabs(name)
                        return Found(Path(path), changes if usual else (*changes, OTHER_FOLDERS))
        parts = _parts(written)
        if not parts:
            return Found(None)
        candidates, ending = self._candidates(parts[-1])
        best = self._closest(candidates, parts)
        if len(best) > 1:
            files = ', '.join(shown(path, self.root) for path in sorted(best)[:_SHOWN])
            more = f' and {len(best) - _SHOWN} more' if len(best) > _SHOWN else ''
            return Found(None, problem=f'{len(best)} files may be meant: {files}{more}')
        if not best:
            return Found(None, problem='it is written on Windows, and no file has this name' if '\\' in written else '')
        return Found(best[0], tuple(self._changes(written, parts, best[0], ending)))

    def _candidates(self, name: str) -> tuple[list[Path], str | None]:
        """The files that may have a name, and what is to be said of the name's ending."""
        if Path(name).suffix.lower() not in self.suffixes:
            return self._by_stem.get(_key(name), []), NO_ENDING if self.has_ending else None
        if files := self._by_name.get(_key(name)):
            return files, None if self.has_ending else AN_ENDING
        return self._by_stem.get(_key(Path(name).stem), []), ENDING

    def _closest(self, candidates: Sequence[Path], parts: Sequence[str]) -> list[Path]:
        """The candidates that share most folders with a name, of these the ones in its own spelling if there are."""
        folders = parts[:-1]
        asked = {_key(str(normal(folder.joinpath(*folders)))) for folder in self.folders}
        candidates = [path for path in candidates if _key(str(path.parent)) in asked] or candidates
        shares = [_shared(folders[::-1], path.parts[-2::-1]) for path in candidates]
        best = [path for path, share in zip(candidates, shares, strict=True) if share == max(shares)]
        return [path for path in best if parts[-1] in (path.name, path.stem)] or best

    def _changes(self, written: str, parts: Sequence[str], path: Path, ending: str | None) -> Iterator[str]:
        if '\\' in written:
            yield WINDOWS
        folders, length = parts[:-1], len(parts) - 1
        if _shared(folders[::-1], path.parts[-2::-1]) < length:
            yield OTHER_MACHINE if _is_foreign(written) else OTHER_FOLDERS
        elif not any(_key(str(folder.joinpath(*folders))) == _key(str(path.parent)) for folder in self.folders):
            yield OTHER_FOLDERS
        stem = Path(parts[-1]).stem if ending == ENDING else parts[-1]
        here = path.parts[-1 - length : -1]
        folders_differ = here != tuple(folders) and all(map(_same, here, folders))
        if stem not in (path.name, path.stem) or folders_differ:
            yield SPELLING
        if ending:
            yield ending

    @cached_property
    def _files(self) -> list[Path]:
        return [
            Path(folder, name)
            for below in dict.fromkeys(self.below)
            for folder, _, names in os.walk(below)
            for name in names
            if os.path.splitext(name)[1].lower() in self.suffixes
        ]

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        return _grouped((_key(path.name), path) for path in self._files)

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        return _grouped((_key(path.stem), path) for path in self._files)


def find_place(written: str, bases: Sequence[Path]) -> tuple[Path | None, tuple[str, ...]]:
    """A folder or list of images that a user's file names, and how the name was read otherwise than it is written.

    ``../`` before a name is left out where nothing is there: exports say it of folders that lie beside their file.

    Args:
        written: The name.
        bases: Folders that it may be relative to.
    """
    spellings = _spellings(written)
    for name, changes in spellings:
        for base in bases:
            if (place := normal(base / name)).exists():
                return place, changes
    parts, (name, changes) = _parts(written), spellings[-1]
    for start in range(len(parts)):
        for base in bases:
            if (place := base.joinpath(*parts[start:])).exists():
                cut = start > 0 or bool(PureWindowsPath(name).anchor)
                return place, (*changes, OTHER_MACHINE) if cut else changes
    return None, ()


def split_words(text: str) -> set[str]:
    """The words of :data:`SPLIT_WORDS` in a name: 'train' of ``instances_train2017.json``."""
    letters = ''.join(each if each.isalpha() else ' ' for each in text.lower())
    return set(letters.split()) & {word for words in SPLIT_WORDS.values() for word in words}


def used_to_validate(title: str, word: str) -> list[Finding]:
    """A note on what is validated on, where that is not called val."""
    if word == 'val':
        return []
    return [Finding('read as', title, 'is the split to validate on: there is none that is called val', split='val')]


def shown(path: Path, root: Path) -> str:
    """A path for messages: relative to the data folder where it is below it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def normal(path: Path) -> Path:
    """The path without ``.`` and ``..``."""
    return Path(os.path.normpath(path))


def _parts(written: str) -> list[str]:
    """The names in a path of any system, without drive, root, ``.`` and ``..``."""
    path = PureWindowsPath(written)
    return [part for part in path.parts if part not in (path.anchor, '.', '..')]


def _spellings(written: str) -> list[tuple[str, tuple[str, ...]]]:
    """A name as it is written and, where that differs, with this system's separators; each with what was changed."""
    plain = written.replace('\\', '/')
    return [(written, ())] + ([(plain, (WINDOWS,))] if plain != written else [])


def _is_foreign(written: str) -> bool:
    """A path of a system's root, or out of its own folder: its folders are those of the machine that wrote it."""
    path = PureWindowsPath(written)
    return bool(path.anchor) or '..' in path.parts


def _same(name: str, other: str) -> bool:
    return _key(name) == _key(other)


def _key(name: str) -> str:
    """Equal for names that differ in case or in the way in which accents are encoded, as archives of macOS do."""
    return unicodedata.normalize('NFC', name).casefold()


def _shared(names: Sequence[str], others: Sequence[str]) -> int:
    """How many of two lists are the same from the first on."""
    equal = [_same(name, other) for name, other in zip(names, others, strict=False)]
    return (*equal, False).index(False)


def _grouped(pairs: Iterable[tuple[str, Path]]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for key, path in pairs:
        groups.setdefault(key, []).append(path)
    return groups
