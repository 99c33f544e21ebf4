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
        folder: Result of :func:`~mmcnn.datasets.folders.classes.read_class_folder`.
        findings: All faults; the ``file`` of each is relative to the folder.
        images: Paths of the images, by split and class.
    """

    folder: ClassData
    findings: tuple[Finding, ...]
    images: dict[str, dict[str, list[str]]]

    def title(self) -> str:
        """Return a line with the numbers of images and classes."""
        sizes = [f'{name}: {number(sum(map(len, classes.values())), "image")}' for name, classes in self.images.items()]
        return f'{self.folder.root}: {"; ".join(sizes)}; {number(len(self.folder.classes), "class")}'

    def usable(self, skip_bad: bool = False) -> ClassData:
        """Return the folder with the numbers of remaining images.

        Args:
            skip_bad: Skip images with errors.

        Raises:
            DataError: There are errors and they must not be skipped, or a class has no other images.
        """
        root = self.folder.root
        if self.findings and not skip_bad:
            lines = [f'{root}: cannot be used for training:', *listed(self.findings)]
            raise DataError('\n'.join([*lines, 'to skip them, use skip_bad=True; otherwise repair the files']))
        out = {finding.file for finding in self.findings}
        for name, classes in self.images.items():
            for label, paths in classes.items():
                if all(_shown(path, root) in out for path in paths):
                    raise DataError(f'{root / name / label} has no usable image')
        less = {name: sum(finding.split == name for finding in self.findings) for name in ('train', 'val')}
        num_train = None if self.folder.num_train is None else self.folder.num_train - less['train']
        return dataclasses.replace(
            self.folder,
            num_train=num_train,
            num_val=self.folder.num_val - less['val'],
            left_out=tuple((finding.split, finding.file) for finding in self.findings),
        )


def check_class_folder(folder: ClassData, names: Sequence[str] = ('train', 'val'), decode: bool = True) -> ClassReport:
    """Decode every image, and find training images that also appear in val, by content.

    Results for unchanged files are cached.

    Args:
        folder: Result of :func:`~mmcnn.datasets.folders.classes.read_class_folder`.
        names: The splits to check, of 'train' and 'val'.
        decode: Whether to decode the images at all.
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
    """Return the result of :func:`check_class_folder` in the form of release 0.1; kept for one release."""
    warnings.warn(
        'check_class_images was replaced by check_class_folder(folder, names), which returns a report with '
        'usable(skip_bad)',
        DeprecationWarning,
        stacklevel=2,
    )
    report = check_class_folder(folder, names)
    return report.usable(skip_bad), list(report.findings)


def describe_left_out(bad: Sequence[Finding]) -> str:
    """Return a line about the images that :meth:`ClassReport.usable` skips."""
    return 'left out: ' + ', '.join(f'{kind} {count}' for kind, count in counts(bad).items())


def _shown(path: str, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()
