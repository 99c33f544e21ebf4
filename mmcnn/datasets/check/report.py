"""The result of checking a detector's data, and the data in the form that is used."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path

from mmcnn.datasets.check.drawn_split import DrawnSplit
from mmcnn.datasets.folders.cache_folder import cache_folder, write_cached
from mmcnn.datasets.folders.findings import Finding, Report, counts, listed, number
from mmcnn.datasets.folders.split import DataSplit
from mmcnn.errors import DataError


@dataclass(frozen=True)
class DataReport(Report):
    """The result of :func:`~mmcnn.datasets.check.detector.check_data` for a folder.

    Attributes:
        root: The folder.
        splits: The splits, with missing sizes, areas and crowd flags filled in.
        findings: All faults.
        kept: The COCO dict of each split without entries that have errors.
        drawn: The draw of the validation images; None: the folder has a validation split.
    """

    root: Path
    splits: tuple[DataSplit, ...]
    findings: tuple[Finding, ...]
    kept: tuple[dict, ...]
    drawn: DrawnSplit | None = None

    @property
    def parts(self) -> tuple[DataSplit, ...]:
        """The name of ``splits`` up to release 0.1, kept for one release."""
        warnings.warn('DataReport.parts was renamed to DataReport.splits', DeprecationWarning, stacklevel=2)
        return self.splits

    @property
    def classes(self) -> tuple[str, ...]:
        """Category names in the order of the files; label i is ``classes[i]``. Only valid without fatal findings."""
        return tuple(category['name'] for category in self.splits[-1].coco['categories'])

    def title(self) -> str:
        """Return a line with the numbers of images, boxes and classes."""
        sizes = [
            f'{split.title}: {number(len(split.coco["images"]), "image")}{_unlabelled(split)}, '
            f'{number(len(split.coco["annotations"]), "box")}'
            for split in self.splits
        ]
        return f'{self.root}: {"; ".join(sizes)}; {number(len(self.splits[-1].coco["categories"]), "class")}'

    def left_out(self) -> str:
        """Return a line about the entries that ``skip_bad=True`` skips."""
        errors = ', '.join(f'{kind} {count}' for kind, count in counts(self.of('error')).items())
        less = [
            f'{number(len(split.coco["images"]) - len(kept["images"]), "image")} and '
            f'{number(len(split.coco["annotations"]) - len(kept["annotations"]), "box")} of {split.title}'
            for split, kept in zip(self.splits, self.kept, strict=True)
        ]
        return f'left out: {errors}; in total {", ".join(less)}'

    def usable(self, skip_bad: bool = False) -> DetectorData:
        """Return the data to train on: the user's own files if nothing changes, otherwise files in the cache folder.

        Args:
            skip_bad: Skip entries with errors.

        Raises:
            DataError: There are errors, or some cannot be skipped. The message lists the first ones of each kind.
        """
        fatal = self.of('fatal')
        if fatal or (self.of('error') and not skip_bad):
            # If nothing is left because of errors, show these as the cause, also if they are skipped.
            blocking = self.of('fatal', 'error') if not skip_bad or any(each.follows for each in fatal) else fatal
            hint = '' if fatal else ' (skip_bad=True skips entries with errors)'
            wrong = [*blocking, *(each for each in self.of('warning') if each.follows)]
            raise DataError('\n'.join([f'{self.title()}; cannot be used for training{hint}:', *listed(wrong)]))
        numbers = {split.name: len(kept['images']) for split, kept in zip(self.splits, self.kept, strict=True)}
        files = [_ann_file(split, kept) for split, kept in zip(self.splits, self.kept, strict=True)]
        return DetectorData(
            self.root,
            self.classes,
            {split.name: (file, split.prefix) for split, file in zip(self.splits, files, strict=True)},
            *(numbers.get(name) for name in ('train', 'val')),
            self.drawn,
        )


@dataclass(frozen=True)
class DetectorData:
    """Data that has passed its check.

    Attributes:
        root: The user's folder.
        classes: Category names; label i is ``classes[i]``.
        files: For each split its COCO file, relative to ``root`` if it is below it, and its folder of images.
        num_train: Number of training images; None if they were not requested.
        num_val: Number of validation images.
        drawn: See :class:`DataReport`.
        fraction: Fraction of the training images in ``files`` and ``num_train``.
    """

    root: Path
    classes: tuple[str, ...]
    files: dict[str, tuple[str, str]]
    num_train: int | None
    num_val: int | None
    drawn: DrawnSplit | None = None
    fraction: float = 1.0


def _unlabelled(split: DataSplit) -> str:
    count = split.num_unlabelled
    return '' if count is None else f' ({count:,} without a label file)'


def _ann_file(split: DataSplit, kept: dict) -> str:
    """Return the user's own file if it can be used unchanged; otherwise one in the cache folder, written if missing."""
    if not split.changed and all(len(kept[key]) == len(split.coco[key]) for key in ('images', 'annotations')):
        return split.ann_file.relative_to(split.root).as_posix()
    return cached_annotations(kept, split.name)


def cached_annotations(coco: dict, name: str) -> str:
    """Return the path of a file in the cache folder with these annotations, written if it does not exist yet.

    Args:
        coco: annotations in COCO format.
        name: name of the split.

    Raises:
        DataError: It cannot be written.
    """
    content = json.dumps(coco, default=list).encode()  # converts polygons, which are arrays
    path = cache_folder() / 'annotations' / hashlib.sha256(content).hexdigest()[:16] / f'{name}.json'
    try:
        if not path.is_file():
            write_cached(path, content)
    except OSError as error:
        raise DataError(
            f'cannot write {path}: {error.strerror}. It stores the annotations in the form that is used; set '
            'XDG_CACHE_HOME to a writable folder'
        ) from error
    return str(path.resolve())
