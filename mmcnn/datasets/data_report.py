"""What a check of a detector's data found, and the data as it is to be used."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from mmcnn.datasets.cache_folder import cache_folder, write_cached
from mmcnn.datasets.data_part import DataPart
from mmcnn.datasets.findings import Finding, Report, counts, listed, number
from mmcnn.errors import DataError


@dataclass(frozen=True)
class DataReport(Report):
    """What :func:`~mmcnn.datasets.data_check.check_data` found in a folder.

    Attributes:
        root: The folder.
        parts: As they were read, with missing sizes, areas and crowd flags filled in.
        findings: All faults.
        kept: The COCO dict of each part without what has an error.
    """

    root: Path
    parts: tuple[DataPart, ...]
    findings: tuple[Finding, ...]
    kept: tuple[dict, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Category names in the order of the files; label i is ``classes[i]``. Only where nothing is fatal."""
        return tuple(category['name'] for category in self.parts[-1].coco['categories'])

    def title(self) -> str:
        """How much there is, in a line."""
        sizes = [
            f'{part.title}: {number(len(part.coco["images"]), "image")}, {number(len(part.coco["annotations"]), "box")}'
            for part in self.parts
        ]
        return f'{self.root}: {"; ".join(sizes)}; {number(len(self.parts[-1].coco["categories"]), "class")}'

    def left_out(self) -> str:
        """What ``skip_bad=True`` leaves out, in a line."""
        errors = ', '.join(f'{kind} {count}' for kind, count in counts(self.of('error')).items())
        less = [
            f'{number(len(part.coco["images"]) - len(kept["images"]), "image")} and '
            f'{number(len(part.coco["annotations"]) - len(kept["annotations"]), "box")} of {part.title}'
            for part, kept in zip(self.parts, self.kept, strict=True)
        ]
        return f'left out: {errors}; that is {", ".join(less)}'

    def usable(self, skip_bad: bool = False) -> DetectorData:
        """The data to train on: the user's own files where nothing changes, else ones in the cache folder.

        Args:
            skip_bad: Leave out what has an error.

        Raises:
            DataError: There are errors, or such as cannot be left out. The message lists the first of each kind.
        """
        blocking = self.of('fatal') if skip_bad else self.of('fatal', 'error')
        if blocking:
            hint = ['leave out what has an error with skip_bad=True, or mend the files']
            hint = [] if self.of('fatal') else hint
            raise DataError('\n'.join([f'{self.title()}; not fit to be used:', *listed(blocking), *hint]))
        numbers = {part.name: len(kept['images']) for part, kept in zip(self.parts, self.kept, strict=True)}
        files = [_ann_file(part, kept) for part, kept in zip(self.parts, self.kept, strict=True)]
        return DetectorData(
            self.root,
            self.classes,
            {part.name: (file, part.prefix) for part, file in zip(self.parts, files, strict=True)},
            *(numbers.get(name) for name in ('train', 'val')),
        )


@dataclass(frozen=True)
class DetectorData:
    """Data that passed its check.

    Attributes:
        root: The user's folder.
        classes: Category names; label i is ``classes[i]``.
        files: Of each part its COCO file, relative to ``root`` if it is below it, and its folder of pictures.
        num_train: Number of training images; None where they were not asked for.
        num_val: The same of validation images.
    """

    root: Path
    classes: tuple[str, ...]
    files: dict[str, tuple[str, str]]
    num_train: int | None
    num_val: int | None


def _ann_file(part: DataPart, kept: dict) -> str:
    """The user's own file if it is what is to be used; else one in the cache folder, written if it is not there yet."""
    if not part.changed and all(len(kept[key]) == len(part.coco[key]) for key in ('images', 'annotations')):
        return part.ann_file.relative_to(part.root).as_posix()
    content = json.dumps(kept).encode()
    path = cache_folder() / 'annotations' / hashlib.sha256(content).hexdigest()[:16] / f'{part.name}.json'
    try:
        if not path.is_file():
            write_cached(path, content)
    except OSError as error:
        raise DataError(
            f'{path} cannot be written: {error.strerror}. The annotations as they are used are kept there; set '
            'XDG_CACHE_HOME to a folder that can be written to'
        ) from error
    return str(path.resolve())
