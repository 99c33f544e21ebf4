"""Resolution of names in users' files to files on this machine: one rule for the readers of all layouts.

A name is used unchanged wherever such a file exists. Otherwise it is corrected: with Windows' separators, without the
folders of another machine, with other upper and lower case, with another suffix; but only if exactly one file matches
and its folders do not contradict those in the name.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mmcnn.datasets.folders.file_names import (
    AN_ENDING,
    ENDING,
    NO_ENDING,
    OTHER_FOLDERS,
    OTHER_MACHINE,
    SPELLING,
    WINDOWS,
    is_foreign,
    key_of,
    means_other_split,
    normal,
    parts_of,
    same,
    shown,
    spellings_of,
    split_words,
)
from mmcnn.datasets.folders.findings import Finding, number
from mmcnn.image_file import IMAGE_SUFFIXES

_SHOWN = 3


@dataclass(frozen=True)
class Found:
    """The file that a name resolves to.

    Attributes:
        path: The file; None: there is none, or the choice is ambiguous.
        changes: Phrases about the differences between the name and the file's; empty: there are none.
        problem: Why there is no path, as the rest of a sentence about the name; '' if there is nothing to add.
    """

    path: Path | None
    changes: tuple[str, ...] = ()
    problem: str = ''


class FileFinder:
    """Finds files by names from another machine and remembers which names it had to correct.

    Args:
        root: The data folder, for messages.
        folders: Folders that names may be relative to; the first with the file is used.
        below: Folders to search for a file that is in none of ``folders``.
        has_ending: Whether the names include their suffixes.
        also: Additional folders that names may be relative to; files found there are reported.
        split: Words for the split of the names; folders of other splits are not searched. Empty: any.
    """

    def __init__(
        self,
        root: Path,
        folders: Sequence[Path],
        below: Sequence[Path],
        has_ending: bool = True,
        also: Sequence[Path] = (),
        split: Collection[str] = (),
    ) -> None:
        self.root, self.folders, self.below, self.also = root, list(dict.fromkeys(folders)), below, also
        self.has_ending, self.split = has_ending, split
        self._read_as: dict[tuple[str, ...], list[tuple[str, Path]]] = {}

    def find(self, names: Iterable[str]) -> dict[str, Found]:
        """Return the files of the names in a user's file; differences are remembered for :meth:`notes`.

        All names are resolved together, because they must agree: names of one folder lead to one folder, names of two
        folders do not lead to one where they would clash, and two names do not lead to one file.
        """
        found = {name: self._find(name) for name in dict.fromkeys(names)}
        if any(each.changes for each in found.values()):  # only these can be refused
            found |= self._disagreeing(found)
            found |= _of_the_same_file(found)
        for name, each in found.items():
            if each.path is not None and each.changes:
                self._read_as.setdefault(each.changes, []).append((name, each.path))
        return found

    def notes(self, title: str, split: str) -> list[Finding]:
        """Return a note for each kind of change: the number of names, and the first of them."""
        return [
            Finding(
                'read as',
                title,
                f'{number(len(names), "file name")} with {" and ".join(changes)}: "{names[0][0]}" is read as '
                f'{shown(names[0][1], self.root)}',
                split=split,
            )
            for changes, names in self._read_as.items()
        ]

    def _find(self, written: str) -> Found:
        if self.has_ending:
            for name, changes in spellings_of(written):
                for folder in (*self.folders, *self.also):
                    if os.path.isfile(path := os.path.join(folder, name)):
                        usual = folder in self.folders or os.path.isabs(name)
                        return Found(Path(path), changes if usual else (*changes, OTHER_FOLDERS))
        parts = parts_of(written)
        if not parts:
            return Found(None)
        candidates, ending = self._candidates(parts[-1])
        best = self._closest(candidates, written, parts)
        if not best:
            return Found(None, problem=self._why_none(candidates, written))
        if len(best) > 1:
            return Found(None, problem=f'{len(best)} files match: {self._listed(best)}')
        return Found(best[0], tuple(self._changes(written, parts, best[0], ending)))

    def _candidates(self, name: str) -> tuple[list[Path], str | None]:
        """Return the files that may match a name, and a phrase about the name's suffix."""
        if Path(name).suffix.lower() not in IMAGE_SUFFIXES:
            return self._by_stem.get(key_of(name), []), NO_ENDING if self.has_ending else None
        if files := self._by_name.get(key_of(name)):
            return files, None if self.has_ending else AN_ENDING
        return self._by_stem.get(key_of(Path(name).stem), []), ENDING

    def _closest(self, candidates: Sequence[Path], written: str, parts: Sequence[str]) -> list[Path]:
        """Return the candidates whose folders match those of a name, otherwise those that do not contradict them.

        Of these, those that share the most folders with the name are returned, and among them those with the name's own
        spelling if there are any.
        """
        folders = parts[:-1]
        asked = self._asked(written, folders)
        here = [path for path in candidates if key_of(str(path.parent)) in asked]
        if not here and not (
            folders and any(key in self._folder_keys or os.path.isdir(path) for key, path in asked.items())
        ):
            here = [path for path in candidates if self._may_be(path, folders)]
        shares = [_shared(folders, path) for path in here]
        best = [path for path, share in zip(here, shares, strict=True) if share == max(shares)]
        return [path for path in best if parts[-1] in (path.name, path.stem)] or best

    def _asked(self, written: str, folders: Sequence[str]) -> dict[str, Path]:
        """Return the folders of a name when it is taken literally, by their keys."""
        paths = [folder.joinpath(*folders) for folder in (*self.folders, *self.also)]
        if os.path.isabs(plain := written.replace('\\', '/')):
            paths.append(Path(plain).parent)
        return {key_of(str(normal(path))): path for path in paths}

    def _may_be(self, path: Path, folders: Sequence[str]) -> bool:
        """Return whether the folders of a misplaced file are compatible with the folders in its name."""
        inside = path.parent.relative_to(self.root) if path.is_relative_to(self.root) else path.parent.name
        if means_other_split(split_words(str(inside)), split_words(' '.join(folders)) or self.split):
            return False
        if self._ends_alike(path, folders):
            return True
        before = folders[: len(folders) - _shared(folders, path)]
        return not {key_of(each) for each in before} & self._folder_names

    def _ends_alike(self, path: Path, folders: Sequence[str]) -> bool:
        """Return whether a file's folders, below the data folder, end with those of a name or vice versa."""
        share = _shared(folders, path)
        rest = Path(*path.parent.parts[: len(path.parent.parts) - share])
        is_whole = share > 0 and any(base.is_relative_to(rest) for base in map(normal, (self.root, *self.folders)))
        return share == len(folders) or is_whole

    def _why_none(self, candidates: Sequence[Path], written: str) -> str:
        if candidates:
            files = (
                'a file with this name is' if len(candidates) == 1 else f'{len(candidates)} files with this name are'
            )
            return f'{files} in another folder, which contradicts the name: {self._listed(candidates)}'
        return 'it is a Windows path, and no file has this name' if '\\' in written else ''

    def _listed(self, paths: Sequence[Path]) -> str:
        more = f' and {len(paths) - _SHOWN} more' if len(paths) > _SHOWN else ''
        return ', '.join(shown(path, self.root) for path in sorted(paths)[:_SHOWN]) + more

    def _disagreeing(self, found: dict[str, Found]) -> dict[str, Found]:
        """Return names to refuse, whose folders would not be one folder here, or would share it with another's."""
        folder_of = {name: tuple(map(key_of, parts_of(name)[:-1])) for name in found}
        leads: dict[tuple[str, ...], set[Path]] = defaultdict(set)
        gone: set[tuple[str, ...]] = set()
        inside: dict[Path, dict[tuple[str, ...], str]] = defaultdict(dict)
        clash: dict[tuple[str, ...], str] = {}
        for name, each in found.items():
            folder = folder_of[name]
            if each.path is None:
                gone.add(folder)
                continue
            leads[folder].add(normal(each.path).parent)
            others = inside[normal(each.path)]
            for other, first in others.items():
                if other != folder:
                    clash.setdefault(folder, first)
                    clash.setdefault(other, name)
            others.setdefault(folder, name)
        refused = {}
        bases = {normal(folder) for folder in self.folders}
        for name, each in found.items():
            folder = folder_of[name]
            if each.path is None or not each.changes or _shared(folder, each.path) == len(folder):
                continue
            guessed = not self._ends_alike(normal(each.path), folder)
            where = shown(each.path.parent, self.root)
            if folder in clash:
                refused[name] = (
                    f'its folder would be {where}, like that of {clash[folder]!r}, but they have names in common'
                )
            elif guessed and len(leads[folder]) > 1:
                refused[name] = f'the files of its folder would be in {len(leads[folder])} folders, for example {where}'
            elif guessed and folder in gone and each.path.parent not in bases:
                refused[name] = f'its folder would be {where}, which does not have all of the files'
        return {name: Found(None, problem=problem) for name, problem in refused.items()}

    def _changes(self, written: str, parts: Sequence[str], path: Path, ending: str | None) -> Iterator[str]:
        if '\\' in written:
            yield WINDOWS
        folders, length = parts[:-1], len(parts) - 1
        if _shared(folders, path) < length:
            yield OTHER_MACHINE if is_foreign(written) else OTHER_FOLDERS
        elif not any(key_of(str(folder.joinpath(*folders))) == key_of(str(path.parent)) for folder in self.folders):
            yield OTHER_FOLDERS
        stem = Path(parts[-1]).stem if ending == ENDING else parts[-1]
        here = path.parts[-1 - length : -1]
        folders_differ = here != tuple(folders) and all(map(same, here, folders))
        if stem not in (path.name, path.stem) or folders_differ:
            yield SPELLING
        if ending:
            yield ending

    @cached_property
    def _walked(self) -> list[tuple[str, list[str]]]:
        """All searched folders, with the names of their files."""
        below = dict.fromkeys(map(normal, self.below))
        return [(folder, files) for each in below for folder, _, files in os.walk(each)]

    @cached_property
    def _folder_keys(self) -> set[str]:
        """The existing folders, including those of the data folder that are not searched."""
        beside = [path for path in self.root.iterdir() if path.is_dir()] if self.root.is_dir() else []
        return {key_of(str(path)) for path in (*(folder for folder, _ in self._walked), *map(normal, beside))}

    @cached_property
    def _folder_names(self) -> set[str]:
        """The names of these folders, except for the data folder's own."""
        return {key_of(Path(path).name) for path in self._folder_keys - {key_of(str(normal(self.root)))}}

    @cached_property
    def _files(self) -> list[Path]:
        paths = {Path(folder, name) for folder, names in self._walked for name in names}
        return sorted(path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES)

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        return _grouped((key_of(path.name), path) for path in self._files)

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        return _grouped((key_of(path.stem), path) for path in self._files)


def _of_the_same_file(found: dict[str, Found]) -> dict[str, Found]:
    """Return corrected names that lead to the file of another name."""
    of_file = _grouped((str(normal(each.path)), name) for name, each in found.items() if each.path is not None)
    refused = {}
    for names in of_file.values():
        plain = [name for name in names if not set(found[name].changes) - {AN_ENDING}]
        for name in names if len(names) > 1 else ():
            if found[name].changes and plain != [name]:
                other = next(each for each in plain or names if each != name)
                refused[name] = Found(None, problem=f'the only matching file is that of {other!r}')
    return refused


def _shared(folders: Sequence[str], path: Path) -> int:
    """Return how many of the last folders of a name match those of a file."""
    equal = [same(name, other) for name, other in zip(folders[::-1], path.parts[-2::-1], strict=False)]
    return (*equal, False).index(False)


def _grouped(pairs: Iterable[tuple]) -> dict[str, list]:
    groups: dict[str, list] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups
