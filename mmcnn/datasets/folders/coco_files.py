"""Selection of the file with a split's COCO annotations, and the possible locations of its images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmcnn.datasets.folders.file_names import SPLIT_WORDS, split_words
from mmcnn.errors import DataError

#: Name of the file in each folder of a Roboflow export.
ROBOFLOW = '_annotations.coco.json'
#: With more JSON files than this, a folder is assumed to have one per image, like LabelMe's.
_MOST_FILES = 20
_LOOKS = re.compile(rb'"(images|annotations?|categories)"\s*:')


@dataclass(frozen=True)
class AnnotationFile:
    """An annotation file.

    Attributes:
        title: The file, relative to the data folder.
        word: The word for its split, of :data:`~mmcnn.datasets.folders.file_names.SPLIT_WORDS`.
        folders: Possible folders of its images, relative to the data folder: '' or ending in a slash; the first is the
            default.
    """

    title: str
    word: str
    folders: tuple[str, ...]


def usual_files(root: Path) -> list[str]:
    """Return those of train.json and val.json, COCO 2017's files or Roboflow's that exist."""
    return [
        each.title
        for name, words in SPLIT_WORDS.items()
        for word in words
        for each in _usual_files(word)
        if (word == name or each.title.endswith(ROBOFLOW)) and (root / each.title).exists()
    ]


def other_files(root: Path) -> list[str]:
    """Return files in COCO format with any name, relative to the data folder, judging by a short look at them."""
    return [path.relative_to(root).as_posix() for path in json_files(root) if _looks_like_coco(path)]


def choose_file(root: Path, name: str) -> AnnotationFile | None:
    """Return the file of a split, 'train' or 'val'; None: there is none.

    A single file whose name does not contain a split is the training data.

    Raises:
        DataError: The choice is ambiguous.
    """
    for word in SPLIT_WORDS[name]:
        for usual in _usual_files(word):
            if (root / usual.title).exists():
                return usual
    others = {title: _words_of(title) for title in other_files(root)}
    for word in SPLIT_WORDS[name]:
        matches = [title for title, words in others.items() if words == {word}]
        matches = [title for title in matches if 'instances' in Path(title).name] or matches
        if len(matches) > 1:
            raise DataError(f'{root} has several files for {word}, {", ".join(matches)}: rename the right one to '
                            f'{word}.json')  # fmt: skip
        if matches:
            return _file(matches[0], word)
    unnamed = [title for title, words in others.items() if not words]
    if name == 'train' and len(unnamed) > 1:
        raise DataError(f'{root} has {", ".join(unnamed)}, whose names do not contain their splits: rename the '
                        'training annotations to train.json, and the validation annotations to val.json')  # fmt: skip
    return _file(unnamed[0], 'train') if name == 'train' and unnamed and len(others) == 1 else None


def _usual_files(word: str) -> tuple[AnnotationFile, ...]:
    return (
        AnnotationFile(f'{word}.json', word, ('images/', f'images/{word}/', f'{word}/', '')),
        AnnotationFile(
            f'annotations/instances_{word}2017.json', word, (f'{word}2017/', f'images/{word}2017/', 'images/', '')
        ),
        AnnotationFile(f'{word}/{ROBOFLOW}', word, (f'{word}/', f'{word}/images/', '')),
    )


def _file(title: str, word: str) -> AnnotationFile:
    own = title.rpartition('/')[0]
    beside = [f'{own}/', f'{own}/images/'] if own and own != 'annotations' else []
    named = [f'{folder}{word}{year}/' for folder in ('', 'images/') for year in ('', '2017', '2014')]
    return AnnotationFile(title, word, ('images/', *beside, *named, 'images/default/', 'data/', ''))


def _words_of(title: str) -> set[str]:
    """Return the words for splits in a file's name, otherwise in those of its folders."""
    *folders, name = title.split('/')
    return split_words(name) or split_words(' '.join(folders))


def json_files(root: Path) -> Iterator[Path]:
    """Yield JSON files in the folder and, two levels deep, in folders named after a split or annotations."""
    level = [root]
    for _ in range(3):
        for folder in level:
            files = sorted(path for path in folder.iterdir() if path.suffix.lower() == '.json' and path.is_file())
            if len(files) <= _MOST_FILES:
                yield from files
        level = [
            path
            for folder in level
            for path in sorted(folder.iterdir())
            if (split_words(path.name) or path.name.lower().startswith('annotation')) and path.is_dir()
        ]


def _looks_like_coco(path: Path) -> bool:
    try:
        return _LOOKS.search(path.read_bytes()) is not None
    except OSError:
        return False
