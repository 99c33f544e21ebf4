"""Synthetic annotations and detections like COCO's, so that no file has to be downloaded for measurements."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

NUM_CLASSES = 80
CLASSES = tuple(f'class {i}' for i in range(NUM_CLASSES))
#: Width and height of all images.
SIZE = np.array((640, 480))
#: Fraction of the boxes that are crowds, and corners of each polygon, as in COCO.
CROWDS, CORNERS = 0.012, 20
#: As in COCO on average.
BOXES_PER_IMAGE = 860_000 / 118_000
#: Maximum number of hard links to one file on the usual file systems.
_LINKS = 60_000


def coco_dict(num_images: int, num_boxes: int, seed: int = 0) -> dict[str, Any]:
    """Return images of 640 x 480 pixels, boxes of all sizes with polygons, crowds, ids with gaps, empty images."""
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.choice(6 * num_images, num_images, replace=False)) + 1
    numbers = rng.multinomial(num_boxes, rng.dirichlet(np.full(num_images, 1.0)))
    categories = [dict(id=i + 1 + i // 10, name=name, supercategory='thing') for i, name in enumerate(CLASSES)]
    images = [dict(id=i, file_name=f'{i:012d}.jpg', width=int(SIZE[0]), height=int(SIZE[1])) for i in ids.tolist()]
    sides = np.minimum(np.exp(rng.uniform(np.log(8), np.log(400), (num_boxes, 2))), SIZE - 10)
    boxes = np.concatenate([rng.random((num_boxes, 2)) * (SIZE - sides), sides], axis=1).round(2)
    angles = np.arange(CORNERS) * 2 * np.pi / CORNERS
    ring = 0.5 + 0.5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    kinds, crowds = rng.integers(0, NUM_CLASSES, num_boxes).tolist(), (rng.random(num_boxes) < CROWDS).tolist()
    annotations = []
    for number, (image, box) in enumerate(zip(np.repeat(ids, numbers).tolist(), boxes, strict=True)):
        annotations.append(
            dict(
                id=number + 1,
                image_id=image,
                category_id=categories[kinds[number]]['id'],
                bbox=box.tolist(),
                area=round(float(0.7 * box[2] * box[3]), 2),
                iscrowd=int(crowds[number]),
                segmentation=[(box[:2] + ring * box[2:]).round(2).ravel().tolist()],
            )
        )
    return dict(images=images, annotations=annotations, categories=categories)


def detections(coco: dict[str, Any], per_image: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return the detections of a mediocre detector: two boxes near each object, the others anywhere."""
    rng = np.random.default_rng(seed)
    labels = {each['id']: label for label, each in enumerate(coco['categories'])}
    objects: dict[int, list[dict]] = {each['id']: [] for each in coco['images']}
    for each in coco['annotations']:
        objects[each['image_id']].append(each)
    found = []
    for image, own in objects.items():
        near = np.array([each['bbox'] for each in own] * 2, float).reshape(-1, 4)[:per_image]
        near = near + rng.normal(0, 0.06, near.shape) * np.tile(near[:, 2:], 2)
        others = rng.uniform(5, 200, (per_image - len(near), 4)) + np.append(rng.uniform(0, 200, 2), (0, 0))
        kinds = np.array([labels[each['category_id']] for each in own] * 2, int)[:per_image]
        boxes = np.concatenate([near, others])
        boxes[:, 2:] += boxes[:, :2]
        scores = rng.random(per_image).astype(np.float32)
        scores[: len(near)] = 0.3 + 0.7 * scores[: len(near)]
        # Half of the false ones are of classes in the image.
        wrong = rng.integers(0, NUM_CLASSES, len(others))
        if len(kinds):
            wrong = np.where(rng.random(len(others)) < 0.5, rng.choice(kinds, len(others)), wrong)
        found.append(
            dict(img_id=image, bboxes=boxes.astype(np.float32), scores=scores, labels=np.concatenate([kinds, wrong]))
        )
    return found


def write_folder(root: Path, num_images: int, num_boxes: int, seed: int = 0) -> Path:
    """Write a data folder with that many training images, links to a few files, with COCO's file names."""
    coco = coco_dict(num_images, num_boxes, seed)
    (root / 'annotations').mkdir(parents=True)
    (root / 'train2017').mkdir()
    (root / 'annotations' / 'instances_train2017.json').write_text(json.dumps(coco))
    image = np.random.default_rng(seed).integers(0, 256, (SIZE[1] // 8, SIZE[0] // 8, 3), np.uint8)
    encoded = cv2.imencode('.jpg', cv2.resize(image, SIZE.tolist()))[1].tobytes()
    for number, each in enumerate(coco['images']):
        path = root / 'train2017' / each['file_name']
        if number % _LINKS == 0:
            path.write_bytes(encoded)
            first = path
        else:
            os.link(first, path)
    return root
