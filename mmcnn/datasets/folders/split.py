"""The train or val split of a detector's data folder as a COCO dict, whatever its layout."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mmcnn.datasets.folders.findings import Finding

#: Returns (w, h) of image files in pixels, as used in training; None for one that cannot be read.
Sizes = Callable[[Iterable[Path]], dict[Path, tuple[int, int] | None]]


@dataclass
class DataSplit:
    """The output of a layout's reader, which a check completes and judges.

    Attributes:
        name: 'train' or 'val'.
        title: The user's file that lists the split, relative to the data folder.
        root: The data folder.
        prefix: The folder of the images, relative to ``root`` and ending in a slash; '' for ``root`` itself.
        coco: The lists images, annotations and categories, not checked yet. Polygons of a COCO file's ``segmentation``
            are ``array.array`` if all their numbers are floating-point.
        ann_file: The user's COCO file; None: the dict was converted from another layout.
        places: The user's file and line for each annotation, if the dict was converted.
        findings: Content that could not be read, and thus is not in the dict.
        changed: Whether the dict has entries that ``ann_file`` has not.
        unlabelled: ``file_name`` of the images without a label file; None in layouts without a file for each image.
        problems: Additional information about images that were not found, by their ``file_name``.
    """

    name: str
    title: str
    root: Path
    prefix: str
    coco: dict
    ann_file: Path | None = None
    places: list[str] | None = None
    findings: list[Finding] = field(default_factory=list)
    changed: bool = False
    unlabelled: set[str] | None = None
    problems: dict[str, str] = field(default_factory=dict)

    def image_path(self, image: dict) -> Path:
        """Return the path of the image of an entry of ``coco['images']``."""
        return Path(os.path.join(self.root, self.prefix, image['file_name']))

    def shown_image(self, image: dict) -> str:
        """Return this path for messages: relative to the data folder."""
        return f'{self.prefix}{image["file_name"]}'

    @property
    def num_unlabelled(self) -> int | None:
        """Number of images without a label file; None in layouts without such files."""
        if self.unlabelled is None:
            return None
        return sum(image['file_name'] in self.unlabelled for image in self.coco['images'])
