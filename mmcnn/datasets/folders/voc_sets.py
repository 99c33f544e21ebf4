"""ImageSets/Main of a Pascal VOC folder: which lists are the splits, and the image and annotations of each line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mmcnn.datasets.folders.file_finder import FileFinder
from mmcnn.datasets.folders.file_names import (
    OTHER_FOLDERS,
    SPELLING,
    SPLIT_WORDS,
    key_of,
    parts_of,
    split_words,
    used_to_validate,
)
from mmcnn.datasets.folders.findings import Finding, number
from mmcnn.errors import DataError
from mmcnn.image_file import IMAGE_SUFFIXES

FOLDER = 'ImageSets/Main'
#: Flags in VOC's lists of a class: no objects, only difficult ones, or objects in the image.
_FLAGS = ('-1', '0', '1')


@dataclass(frozen=True)
class ImageSet:
    """The lists of a split.

    Attributes:
        title: The list, relative to the data folder; or its replacement.
        word: Its word for the split.
        files: The lists; empty: every annotation file.
    """

    title: str
    word: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class VocImage:
    """An image of a set.

    Attributes:
        image: Its file, below JPEGImages/.
        annotation: The file of its annotations, below Annotations/.
        problem: Additional information if the image was not found.
        annotation_problem: The fault of its annotation file, as the rest of a sentence about it.
    """

    image: str
    annotation: str
    problem: str = ''
    annotation_problem: str = ''


@dataclass
class VocImages:
    """The images of a set, each once, and the names that had to be corrected."""

    images: list[VocImage] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def choose_set(root: Path, name: str) -> ImageSet | None:
    """Return the set of images of a split, 'train' or 'val'; None: there is none.

    train.txt is used with val.txt or, if one of them is missing, trainval.txt with test.txt. VOC's lists for a class,
    dog_train.txt, are only used together and if there are no others.

    Raises:
        DataError: The choice is ambiguous.
    """
    lists = {path.stem: path for path in sorted((root / FOLDER).glob('*.txt'))}
    if not lists:
        return ImageSet('Annotations', 'train', ()) if name == 'train' else None
    words = {split: next((word for word in SPLIT_WORDS[split] if word in lists), None) for split in SPLIT_WORDS}
    if 'trainval' in lists and (words['train'] is None or words['val'] == 'test'):
        words['train'] = 'trainval'
    if word := words[name]:
        return ImageSet(f'{FOLDER}/{word}.txt', word, (lists[word],))
    of_classes = {
        split: tuple(path for stem, path in lists.items() if stem.rpartition('_')[2] in of)
        for split, of in SPLIT_WORDS.items()
    }
    if of_classes[name]:
        word = of_classes[name][0].stem.rpartition('_')[2]
        return ImageSet(f'{FOLDER}/*_{word}.txt', word, of_classes[name])
    if any(of_classes.values()) or any(words.values()) or name == 'val':
        return None
    if len(lists) > 1:
        raise DataError(f'{root / FOLDER} has {", ".join(f"{stem}.txt" for stem in lists)}, whose names do not contain '
                        'splits: rename the training list to train.txt and the validation list to val.txt')  # fmt: skip
    (stem,) = lists
    return ImageSet(f'{FOLDER}/{stem}.txt', 'train', (lists[stem],))


def read_set(root: Path, chosen: ImageSet, name: str) -> VocImages:
    """Return the images of a set. A name may have a suffix, folders, and the flag of VOC's per-class lists."""
    read = VocImages()
    if name == 'val':
        read.findings += used_to_validate(chosen.title, chosen.word)
    annotations = root / 'Annotations'
    if chosen.files:
        names = _listed(chosen, annotations, read, name)
    else:
        names = [
            path.relative_to(annotations).with_suffix('').as_posix() for path in sorted(annotations.rglob('*.xml'))
        ]
    folder = root / 'JPEGImages'
    words = split_words(Path(chosen.title).name) if chosen.files else ()
    images = FileFinder(root, [folder], [folder], has_ending=False, split=words)
    places = images.find(names)
    files = {name: place.path.relative_to(folder).as_posix() for name, place in places.items() if place.path}
    bare = {name: _without_ending(name) for name in names}
    stems = {
        written: Path(files[written]).with_suffix('') if written in files else Path(*parts_of(bare[written]))
        for written in places
    }
    trees = _Trees(root, stems, files)
    for written, place in places.items():
        missing = (
            bare[written] if place.problem else f'{bare[written]}.jpg'
        )  # if several match, none must be found there
        annotation, problem = trees.of[written]
        read.images.append(VocImage(files.get(written, missing), annotation, place.problem, problem))
    read.findings += [*images.notes(chosen.title, name), *trees.notes(chosen.title, name)]
    return read


class _Trees:
    """Annotation files of images: below Annotations/ like the image below JPEGImages/, or directly in it.

    Args:
        root: The data folder.
        stems: Name in the list -> the image's file without its suffix, relative to JPEGImages/.
        found: The names that have an image.

    Attributes:
        of: Name -> its file, below Annotations/, and its fault, as the rest of a sentence; '': no fault.
    """

    def __init__(self, root: Path, stems: dict[str, Path], found: Collection[str]) -> None:
        self.root, self.stems = root, stems
        folder = root / 'Annotations'
        self._files: dict[str, list[Path]] = {}
        self._namesakes: dict[str, list[Path]] = {}
        for path in sorted(folder.rglob('*')):
            if path.suffix.lower() == '.xml':
                file = path.relative_to(folder)
                self._files.setdefault(key_of(file.with_suffix('').as_posix()), []).append(file)
                self._namesakes.setdefault(key_of(file.stem), []).append(file)
        files = {name: self._find(stem) for name, stem in stems.items()}
        names_of: dict[Path, list[str]] = {}
        for name, file in files.items():
            names_of.setdefault(file, []).append(name)
        self.of: dict[str, tuple[str, str]] = {}
        for name, file in files.items():
            problem = '' if file else self._why_none(stems[name])
            owners = [each for each in names_of[file] if each in found]
            if file and len(names_of[file]) > 1 and owners != [name]:
                other = next(each for each in (*owners, *names_of[file]) if each != name)
                problem = f'belongs to both {other!r} and {name!r}; each image needs its own file'
            self.of[name] = ((file or stems[name].with_name(f'{stems[name].name}.xml')).as_posix(), problem)

    def notes(self, title: str, split: str) -> Iterator[Finding]:
        """Yield notes about files that are in other folders, or have other spellings, than in the list."""
        read_as: dict[str, list[str]] = {}
        for name, (file, problem) in self.of.items():
            written, here = parts_of(_without_ending(name)), Path(file).with_suffix('').parts
            if not problem and tuple(written) != here:
                is_spelling = list(map(key_of, written)) == list(map(key_of, here))
                read_as.setdefault(SPELLING if is_spelling else OTHER_FOLDERS, []).append(name)
        for changes, names in read_as.items():
            text = f'{number(len(names), "file name")} with {changes}: "{names[0]}" is read as '
            yield Finding('read as', title, f'{text}Annotations/{self.of[names[0]][0]}', split=split)

    def _find(self, stem: Path) -> Path | None:
        files = self._files.get(key_of(stem.as_posix()), [])
        if not files and stem.name != str(stem) and self._stems_of_images[key_of(stem.name)] == 1:
            files = self._files.get(key_of(stem.name), [])
        own = [file for file in files if file.with_suffix('') == stem]
        return own[0] if own else files[0] if len(files) == 1 else None

    @cached_property
    def _stems_of_images(self) -> Counter[str]:
        paths = (self.root / 'JPEGImages').rglob('*')
        stems = {path.with_suffix('') for path in paths if path.suffix.lower() in IMAGE_SUFFIXES}
        return Counter(key_of(stem.name) for stem in stems)

    def _why_none(self, stem: Path) -> str:
        others = self._namesakes.get(key_of(stem.name), [])
        if not others:
            return 'does not exist'
        return f'does not exist; Annotations/{others[0].as_posix()} is in another folder and not used'


def _without_ending(name: str) -> str:
    return name[: -len(suffix)] if (suffix := Path(name).suffix).lower() in IMAGE_SUFFIXES else name


def _listed(chosen: ImageSet, annotations: Path, read: VocImages, name: str) -> list[str]:
    """Return the names in the lists of a set, each once, without flags."""
    flagged = []
    names = {}
    for line in _lines(chosen):
        *words, last = line.split()
        if words and last in _FLAGS and not (annotations / f'{line}.xml').is_file():
            flagged.append(line)
            line = line[: -len(last)].strip()
        names[line] = None
    if flagged:
        text = f'{number(len(flagged), "line")} with a second column, which is ignored, the first is "{flagged[0]}"'
        read.findings.append(Finding('read as', chosen.title, text, split=name))
    return list(names)


def _lines(chosen: ImageSet) -> Iterator[str]:
    for file in chosen.files:
        lines = file.read_text(encoding='utf-8-sig', errors='replace').splitlines()
        yield from filter(None, map(str.strip, lines))
