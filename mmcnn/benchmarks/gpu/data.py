"""The data that is trained on: drawn, so that nothing has to be fetched."""

from __future__ import annotations

from pathlib import Path

import cv2

from mmcnn.benchmarks import pipeline

#: Of the drawn photographs: as many classes as COCO has, and names of each file for epochs that last.
NUM_CLASSES, COPIES, TINY_COPIES = 80, 32, 2
#: Classes of the classifier's folder.
CLASSES = ('a', 'b', 'c', 'd')


def draw(folder: Path, tiny: bool) -> tuple[Path, Path]:
    """Draws photographs for detectors, and the same ones in classes for classifiers.

    Args:
        folder: where to; it has to be there.
        tiny: fewer names for each file.

    Returns:
        The two folders.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    detectors = pipeline.make_photographs(folder / 'photographs', NUM_CLASSES, TINY_COPIES if tiny else COPIES)
    cv2.setNumThreads(threads)
    classifiers = folder / 'classes'
    images: dict[str, list[Path]] = {}
    for path in sorted((detectors / 'images').iterdir()):
        images.setdefault(path.stem.partition('-')[0], []).append(path)
    # All names of an image are in one class and in one split: else the check of the data would refuse the folder.
    for number, paths in enumerate(images.values()):
        split = 'val' if number < len(CLASSES) else 'train'
        target = classifiers / split / CLASSES[number % len(CLASSES)]
        target.mkdir(parents=True, exist_ok=True)
        for path in paths[:1] if split == 'val' else paths:
            (target / path.name).hardlink_to(path)
    return detectors, classifiers
