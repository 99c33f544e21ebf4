"""Images per second that one process prepares for training, compared with MMDetection's own pipeline."""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmcnn.benchmarks.comparison import Comparison, Say, Side, compare
from mmcnn.benchmarks.options import PipelineOptions
from mmcnn.datasets.check.detector import check_data
from mmcnn.datasets.check.report import DetectorData
from mmcnn.image_file import read_image_file
from mmcnn.interleaved import Measured, wall_seconds

#: Size of the drawn photographs, and their number.
PHOTOGRAPH = (640, 480)
NUM_PHOTOGRAPHS = 128


@contextlib.contextmanager
def data_folder(path: str | None) -> Iterator[DetectorData]:
    """Provide a checked data folder; None: one of drawn photographs, while the context is open."""
    with tempfile.TemporaryDirectory() as folder:
        yield check_data(path or make_photographs(Path(folder, 'photographs'))).usable()


def make_photographs(root: Path, num_classes: int = 1, copies: int = 1) -> Path:
    """Draw a data folder of JPEG files that cost as much to decode as photographs: detail at all scales, about 110 KB.

    Each has eight boxes. The last one is in val.json, all others are in train.json.

    Args:
        root: folder, which is created.
        num_classes: number of classes of the boxes, in turn.
        copies: number of hard links to each training photograph, with their own boxes: a longer epoch.
    """
    (root / 'images').mkdir(parents=True)
    rng = np.random.default_rng(0)
    width, height = PHOTOGRAPH
    corners = {}
    for number in range(NUM_PHOTOGRAPHS):
        image = np.full((height, width, 3), 110.0)
        for cell in (1, 2, 4, 8, 32, 160):
            noise = rng.normal(0, 8 + cell / 4, (height // cell, width // cell, 3))
            image += cv2.resize(noise, PHOTOGRAPH, interpolation=cv2.INTER_CUBIC)
        name = f'{number:03d}.jpg'
        cv2.imwrite(
            str(root / 'images' / name),
            np.rint(np.clip(image, 0, 255)).astype(np.uint8),
            [cv2.IMWRITE_JPEG_QUALITY, 88],
        )
        corners[name] = rng.integers(0, (width - 200, height - 200), (8, 2)).tolist()
    *trained, validated = corners
    for name in trained:
        for copy in range(1, copies):
            other = f'{Path(name).stem}-{copy}.jpg'
            (root / 'images' / other).hardlink_to(root / 'images' / name)
            corners[other] = rng.integers(0, (width - 200, height - 200), (8, 2)).tolist()
    categories = [dict(id=i + 1, name='thing' if num_classes == 1 else f'thing {i + 1}') for i in range(num_classes)]
    images, annotations = [], []
    for number, (name, of_image) in enumerate(corners.items()):
        images.append(dict(id=number, file_name=name, width=width, height=height))
        for x, y in of_image:
            category, box = 1 + len(annotations) % num_classes, [x, y, 150, 120]
            annotations.append(
                dict(id=len(annotations), image_id=number, category_id=category, bbox=box, area=18000, iscrowd=0)
            )
    for file, chosen in (
        ('train.json', [image for image in images if image['file_name'] != validated]),
        ('val.json', [image for image in images if image['file_name'] == validated]),
    ):
        ids = {image['id'] for image in chosen}
        boxes = [each for each in annotations if each['image_id'] in ids]
        (root / file).write_text(json.dumps(dict(images=chosen, annotations=boxes, categories=categories)))
    return root


def inner_config(folder: DetectorData, split: str = 'train') -> dict[str, Any]:
    """Return the config of the data set that reads a folder's annotations of ``train`` or ``val``."""
    ann_file, images = folder.files[split]
    return dict(
        type='CocoDataset',
        data_root=str(folder.root),
        ann_file=ann_file,
        data_prefix=dict(img=images),
        metainfo=dict(classes=folder.classes),
    )


def mmdet_config(inner: dict[str, Any], size: int) -> dict[str, Any]:
    """Return MMDetection's mosaic, affine, HSV and flip, as in its YOLOX except for the scales, which are YOLOv5's.

    Args:
        inner: config of the data set that reads the annotations.
        size: side of the samples in pixels.
    """
    loading = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
    return dict(
        type='MultiImageMixDataset',
        dataset=dict(inner, pipeline=loading),
        pipeline=[
            dict(type='Mosaic', img_scale=(size, size), pad_val=114.0),
            dict(type='RandomAffine', scaling_ratio_range=(0.5, 1.5), border=(-size // 2, -size // 2)),
            dict(type='YOLOXHSVRandomAug'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackDetInputs'),
        ],
    )


def own_config(folder: DetectorData, size: int, **settings: Any) -> dict[str, Any]:
    """Return the same with our parts."""
    return dict(
        type='mmcnn.MosaicDataset',
        dataset=inner_config(folder),
        pipeline=[
            dict(type='mmcnn.MosaicAffine', img_scale=(size, size), scale=(0.5, 1.5), flip_prob=0.5),
            dict(type='mmcnn.RandomHSV'),
        ],
        **settings,
    )


def sides(folder: DetectorData, size: int, cache_gb: float) -> dict[str, Callable[[int], object]]:
    """Return the measured calls by name, which prepare sample ``i``. The cache is filled."""
    from mmdet.registry import DATASETS
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmdet'):
        mmdet = DATASETS.build(mmdet_config(inner_config(folder), size))
        plain, cached = (DATASETS.build(own_config(folder, size, cache_gb=each)) for each in (0.0, cache_gb))
        device = DATASETS.build(own_config(folder, size, cache_gb=cache_gb, device_augmentation=True))
    count, annotations = len(plain), plain.annotations
    for dataset in (cached, device):
        for index in range(count):
            dataset.read(dataset.pipeline[0].plan([annotations[index]]).pictures[0][0])
    calls = {
        'plain decode': lambda i: read_image_file(annotations.path(i)),
        'MMDetection': mmdet.__getitem__,
        'mmcnn': plain.__getitem__,
        'mmcnn, cached': cached.__getitem__,
        'mmcnn, cached, for the device': device.__getitem__,
    }
    return {name: lambda i, call=call: call(i % count) for name, call in calls.items()}


def measure(options: PipelineOptions, say: Say) -> list[Comparison]:
    """Measure images per second of each side, on one thread."""
    with data_folder(options.data) as folder, _one_thread():
        calls = sides(folder, options.img_size, options.cache_gb)
        return [
            compare(
                f'{options.img_size} px',
                [Side(name, rate(call, options.samples), name == 'MMDetection') for name, call in calls.items()],
                options.runs,
                'images/s',
                more_is_better=True,
            )
        ]


def rate(call: Callable[[int], object], samples: int) -> Measured:
    """Measure calls per second; every round uses new random numbers."""
    rounds = itertools.count()

    def prepare() -> None:
        np.random.seed(next(rounds))
        for i in range(samples):
            call(i)

    seconds = wall_seconds(prepare)
    return lambda: samples / seconds()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
