"""A fraction of the training images that is the same in every run and contained in every larger fraction."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from mmcnn.datasets.check.report import DetectorData, cached_annotations


def with_fraction(data: DetectorData, fraction: float) -> DetectorData:
    """Return the data with a fraction of its training images; the validation images stay.

    Images are ordered by a hash of their file names, so that a fraction depends only on the names and a smaller one is
    contained in every larger one. Images without boxes are included like all others.

    Args:
        data: all of the data, or already this fraction.
        fraction: above 0 and at most 1; at least one image is kept.

    Raises:
        DataError: The annotations of the fraction cannot be written to the cache folder.
    """
    if fraction == data.fraction:
        return data
    assert data.fraction == 1, 'a fraction is taken of all images'
    ann_file, prefix = data.files['train']
    coco = json.loads((data.root / ann_file).read_bytes())
    ordered = sorted(coco['images'], key=lambda image: hashlib.sha256(image['file_name'].encode()).digest())
    ids = {image['id'] for image in ordered[: max(1, round(fraction * len(ordered)))]}
    part = {
        **coco,
        'images': [image for image in coco['images'] if image['id'] in ids],
        'annotations': [each for each in coco['annotations'] if each['image_id'] in ids],
    }
    files = {**data.files, 'train': (cached_annotations(part, 'train'), prefix)}
    return replace(data, files=files, num_train=len(ids), fraction=fraction)
