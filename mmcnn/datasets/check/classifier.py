"""The check of a classifier's data folder: all images are decoded before a training starts."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmcnn.datasets.check.image_records import ImageRecords
from mmcnn.datasets.folders.classes import ClassData, images_of_classes
from mmcnn.datasets.folders.findings import Finding, Report, counts, listed, number
from mmcnn.errors import DataError


@dataclass(frozen=True)
class ClassReport(Report):
    """The result of :func:`check_class_folder` for a classifier's data folder.

    Attributes:
        folder: As :func:`~mmcnn.datasets.folders.classes.read_class_folder` gave it.
        findings: All faults; ``file`` of each is relative to the folder.
        images: Paths of the images, by split and class.
    """

    folder: ClassData
    findings: tuple[Finding, ...]
    images: dict[str, dict[str, list[str]]]

    def title(self) -> str:
        """Return how much there is, in a line."""
        sizes = [f'{name}: {number(sum(map(len, classes.values())), "image")}' for name, classes in self.images.items()]
        return f'{self.folder.root}: {"; ".join(sizes)}; {number(len(self.folder.classes), "class")}'

    def usable(self, skip_bad: bool = False) -> ClassData:
        """Return the folder with the numbers of images that are left.

        Args:
            skip_bad: Leave out what has an error.

        Raises:
            DataError: There are errors and they are not to be left out, or a class has no other images.
        """
        root = self.folder.root
        if self.findings and not skip_bad:
            lines = [f'{root}: not fit to be used:', *listed(self.findings)]
            raise DataError('\n'.join([*lines, 'leave them out with skip_bad=True, or mend the files']))
        out = {finding.file for finding in self.findings}
        for name, classes in self.images.items():
            for label, paths in classes.items():
                if all(_shown(path, root) in out for path in paths):
                    raise DataError(f'{root / name / label} has no image that can be used')
        less = {name: sum(finding.split == name for finding in self.findings) for name in ('train', 'val')}
        num_train = None if self.folder.num_train is None else self.folder.num_train - less['train']
        return dataclasses.replace(
            self.folder,
            num_train=num_train,
            num_val=self.folder.num_val - less['val'],
            left_out=tuple((finding.split, finding.file) for finding in self.findings),
        )


def check_class_folder(folder: ClassData, names: Sequence[str] = ('train', 'val'), decode: bool = True) -> ClassReport:
    """Decode every image, and looks for training images that are in val, too, by content.

    What has not changed since the last time is remembered.

    Args:
        folder: As :func:`~mmcnn.datasets.folders.classes.read_class_folder` gives it.
        names: Its folders to look into, of 'train' and 'val'.
        decode: Look into the images at all.
    """
    images = {name: images_of_classes(folder.root / name)[0] for name in names}
    if not decode:
        return ClassReport(folder, (), images)
    records = ImageRecords(folder.root)
    facts = records.facts(Path(path) for classes in images.values() for paths in classes.values() for path in paths)
    bad = [
        Finding(facts[Path(path)].problem, _shown(path, folder.root), facts[Path(path)].detail, split=name)
        for name, classes in images.items()
        for paths in classes.values()
        for path in paths
        if facts[Path(path)].problem is not None
    ]
    held_out = {facts[Path(path)].digest: path for paths in images.get('val', {}).values() for path in paths}
    for path in (path for paths in images.get('train', {}).values() for path in paths):
        if (digest := facts[Path(path)].digest) in held_out and digest:
            same = f'is the image of {_shown(held_out[digest], folder.root)}'
            bad.append(Finding('train image in val', _shown(path, folder.root), same, split='train'))
    return ClassReport(folder, tuple(bad), images)


def check_class_images(folder: ClassData, names: Sequence[str], skip_bad: bool) -> tuple[ClassData, list[Finding]]:
    """Return the name and the form that :func:`check_class_folder` had up to release 0.1, kept for one release."""
    warnings.warn(
        'check_class_images has become check_class_folder(folder, names), a report, and its usable(skip_bad)',
        DeprecationWarning,
        stacklevel=2,
    )
    report = check_class_folder(folder, names)
    return report.usable(skip_bad), list(report.findings)


def describe_left_out(bad: Sequence[Finding]) -> str:
    """Return what :meth:`ClassReport.usable` leaves out, in a line."""
    return 'left out: ' + ', '.join(f'{kind} {count}' for kind, count in counts(bad).items())


def _shown(path: str, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()
