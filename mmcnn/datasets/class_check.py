"""The pictures of a classifier's data folder, decoded before anything is trained on them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from mmcnn.datasets.class_folder import ClassData, images_of_classes
from mmcnn.datasets.findings import Finding, counts, listed
from mmcnn.datasets.image_memory import ImageMemory
from mmcnn.errors import DataError


def check_class_images(folder: ClassData, names: Sequence[str], skip_bad: bool) -> tuple[ClassData, list[Finding]]:
    """Decodes every picture, and looks for those to train on that are to validate on, too, by content.

    What has not changed since the last time is remembered.

    Args:
        folder: As :func:`~mmcnn.datasets.class_folder.read_class_folder` gives it.
        names: Its folders to look into, of 'train' and 'val'.
        skip_bad: Leave out what cannot be decoded, and of pictures in both folders those to train on.

    Returns:
        The folder with its numbers of images, and what is left out; ``file`` of each is relative to the folder.

    Raises:
        DataError: There are such pictures and they are not to be left out, or a class has no others.
    """
    memory = ImageMemory(folder.root)
    images = {name: images_of_classes(folder.root / name)[0] for name in names}
    facts = memory.facts(Path(path) for classes in images.values() for paths in classes.values() for path in paths)
    bad = [
        Finding(facts[Path(path)].problem, _shown(path, folder.root), facts[Path(path)].detail, part=name)
        for name, classes in images.items()
        for paths in classes.values()
        for path in paths
        if facts[Path(path)].problem is not None
    ]
    held_out = {facts[Path(path)].digest: path for paths in images.get('val', {}).values() for path in paths}
    for path in (path for paths in images.get('train', {}).values() for path in paths):
        if (digest := facts[Path(path)].digest) in held_out and digest:
            same = f'is the picture of {_shown(held_out[digest], folder.root)}'
            bad.append(Finding('train image in val', _shown(path, folder.root), same, part='train'))
    if bad and not skip_bad:
        lines = [
            f'{folder.root}: not fit to be used:',
            *listed(bad),
            'leave them out with --skip-bad, or mend the files',
        ]
        raise DataError('\n'.join(lines))
    out = {finding.file for finding in bad}
    for name, classes in images.items():
        for label, paths in classes.items():
            if all(_shown(path, folder.root) in out for path in paths):
                raise DataError(f'{folder.root / name / label} has no picture that can be used')
    less = {name: sum(finding.part == name for finding in bad) for name in ('train', 'val')}
    num_train = None if folder.num_train is None else folder.num_train - less['train']
    return dataclasses.replace(folder, num_train=num_train, num_val=folder.num_val - less['val']), bad


def describe_left_out(bad: Sequence[Finding]) -> str:
    """What :func:`check_class_images` left out, in a line."""
    return 'left out: ' + ', '.join(f'{kind} {count}' for kind, count in counts(bad).items())


def _shown(path: str, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()
