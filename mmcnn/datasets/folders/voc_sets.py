"""ImageSets/Main of a Pascal VOC folder: which lists are the splits, and the image and the annotations of each line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mmcnn.datasets.folders.file_names import SPLIT_WORDS, FileFinder, used_to_validate
from mmcnn.datasets.folders.findings import Finding, number
from mmcnn.datasets.image_file import IMAGE_SUFFIXES
from mmcnn.errors import DataError

FOLDER = 'ImageSets/Main'
#: What VOC's lists for a class say of each image: its objects are absent, only difficult, present.
_FLAGS = ('-1', '0', '1')


@dataclass(frozen=True)
class ImageSet:
    """The lists of a split.

    Attributes:
        title: The list, relative to the data folder; or what stands in its place.
        word: Its word for the split.
        files: The lists; none: every file of annotations.
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
        problem: Why the image was not found, where more can be said.
        annotation_problem: Why the file of its annotations was not.
    """

    image: str
    annotation: str
    problem: str = ''
    annotation_problem: str = ''


@dataclass
class VocImages:
    """The images of a set, each once, and what was read otherwise than it is written."""

    images: list[VocImage] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def choose_set(root: Path, name: str) -> ImageSet | None:
    """The set of images of a split, 'train' or 'val'; None: there is none.

    train.txt goes with val.txt, and where one of them is missing trainval.txt with test.txt. VOC's lists for a class,
    dog_train.txt, count only together and where there are no others.

    Raises:
        DataError: Several may be meant.
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
        raise DataError(f'{root / FOLDER} holds {", ".join(f"{stem}.txt" for stem in lists)}, and their names do not '
                        'tell which is to train on: call it train.txt, and the one to validate on val.txt')  # fmt: skip
    (stem,) = lists
    return ImageSet(f'{FOLDER}/{stem}.txt', 'train', (lists[stem],))


def read_set(root: Path, chosen: ImageSet, name: str) -> VocImages:
    """The images of a set. A name may have an ending, folders, and a flag of VOC's lists for a class behind it."""
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
    images = FileFinder(root, [root / 'JPEGImages'], [root / 'JPEGImages'], has_ending=False)
    trees = FileFinder(root, [annotations], [annotations], ('.xml',), has_ending=False)
    for written in names:
        bare = written[: -len(Path(written).suffix)] if Path(written).suffix.lower() in IMAGE_SUFFIXES else written
        found, tree = images.find(written), trees.find(bare)
        missing = bare if found.problem else f'{bare}.jpg'  # of several, none is to be found there
        image = missing if found.path is None else found.path.relative_to(root / 'JPEGImages').as_posix()
        annotation = f'{bare}.xml' if tree.path is None else tree.path.relative_to(annotations).as_posix()
        read.images.append(VocImage(image, annotation, found.problem, tree.problem))
    read.images = list(dict.fromkeys(read.images))
    read.findings += images.notes(chosen.title, name) + trees.notes(chosen.title, name)
    return read


def _listed(chosen: ImageSet, annotations: Path, read: VocImages, name: str) -> list[str]:
    """The names in the lists of a set, each once, without flags."""
    flagged = []
    names = {}
    for line in _lines(chosen):
        *words, last = line.split()
        if words and last in _FLAGS and not (annotations / f'{line}.xml').is_file():
            flagged.append(line)
            line = line[: -len(last)].strip()
        names[line] = None
    if flagged:
        text = f'{number(len(flagged), "line")} with a second column, which is left out: "{flagged[0]}" first'
        read.findings.append(Finding('read as', chosen.title, text, split=name))
    return list(names)


def _lines(chosen: ImageSet) -> Iterator[str]:
    for file in chosen.files:
        lines = file.read_text(encoding='utf-8-sig', errors='replace').splitlines()
        yield from filter(None, map(str.strip, lines))
