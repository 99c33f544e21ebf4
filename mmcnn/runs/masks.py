"""Annotations that a config reads besides boxes: masks, and pixel labels, which no data folder has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmcnn.config.load import dicts_in
from mmcnn.config.parts import loaders_of, metrics_of
from mmcnn.datasets.check.report import DetectorData
from mmcnn.datasets.folders.findings import number
from mmcnn.errors import DataError, UsageError

#: Transforms, and their arguments, that read the class of every pixel.
PIXELS = {'LoadPanopticAnnotations': None, 'LoadAnnotations': 'with_seg'}
#: The split that each evaluator uses.
_EVALUATORS = {'val_evaluator': 'val', 'test_evaluator': 'val'}


def check_masks(cfg: Config, folder: DetectorData, splits: Mapping[str, str]) -> None:
    """Refuse a data folder that lacks annotations that the transforms and metrics of a config read.

    Args:
        cfg: config whose data loaders read the folder.
        folder: the checked folder.
        splits: the split of each data loader.

    Raises:
        UsageError: the config reads pixel annotations, which no layout of a folder has.
        DataError: it reads masks, and some boxes have none.
    """
    reads: dict[str, str] = {}
    for name, loader in loaders_of(cfg).items():
        for step in dicts_in(loader):
            kind = step.get('type')
            if kind in PIXELS and (PIXELS[kind] is None or step.get(PIXELS[kind])):
                what = kind if PIXELS[kind] is None else f'{kind}({PIXELS[kind]}=True)'
                raise UsageError(
                    f'{name}: {what} reads the class of every pixel, but a folder of data= only has boxes and masks; '
                    "use a config without it, or set the config's own data"
                )
            if kind == 'LoadAnnotations' and step.get('with_mask'):
                reads.setdefault(splits[name], f'{name}: LoadAnnotations(with_mask=True)')
    for evaluator, split in _EVALUATORS.items():
        for where, metric in metrics_of(cfg, evaluator):
            kinds = metric.get('metric', ()) if isinstance(metric, dict) else ()
            if 'segm' in ([kinds] if isinstance(kinds, str) else kinds):
                reads.setdefault(split, f"{where}: {metric.get('type')}(metric='segm')")
    for split, reader in reads.items():
        if split in folder.files:
            _check_split(folder.root / folder.files[split][0], reader)


def _check_split(path: Path, reader: str) -> None:
    boxes = json.loads(path.read_text(encoding='utf-8-sig'))['annotations']
    without = [box for box in boxes if not _is_mask(box.get('segmentation'))]
    if without:
        where = '' if len(without) == len(boxes) else f', the first one with id {without[0].get("id")!r}'
        raise DataError(
            f'{reader} reads masks, and {number(len(without), "box")} of {len(boxes):,} in {path} have no '
            f'segmentation{where}: give each a polygon of at least three points or an RLE mask, or train a detector '
            'that only predicts boxes'
        )


def _is_mask(segmentation: Any) -> bool:
    """Return whether MMDetection can read it: polygons, one with at least three points, or COCO's run lengths."""
    if isinstance(segmentation, dict):
        return 'counts' in segmentation and 'size' in segmentation
    return isinstance(segmentation, list) and any(
        isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in segmentation
    )
