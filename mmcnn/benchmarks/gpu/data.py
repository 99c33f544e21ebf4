"""The training data, which is drawn so that nothing has to be downloaded."""

from __future__ import annotations

from pathlib import Path

import cv2

from mmcnn.benchmarks import pipeline

#: The drawn photographs: as many classes as COCO has, and links to each file for longer epochs.
NUM_CLASSES, COPIES, TINY_COPIES = 80, 32, 2
#: Number of classes in the classifier's folder.
CLASSES = ('a', 'b', 'c', 'd')


def draw(folder: Path, tiny: bool) -> tuple[Path, Path]:
    """Draw photographs for detectors, and the same ones in classes for classifiers.

    Args:
        folder: existing folder for them.
        tiny: make fewer links to each file.

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
    # All links to an image are in one class and one split; else the check of the data would reject the folder.
    for number, paths in enumerate(images.values()):
        split = 'val' if number < len(CLASSES) else 'train'
        target = classifiers / split / CLASSES[number % len(CLASSES)]
        target.mkdir(parents=True, exist_ok=True)
        for path in paths[:1] if split == 'val' else paths:
            (target / path.name).hardlink_to(path)
    return detectors, classifiers
