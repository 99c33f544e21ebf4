"""A training data set for a folder in COCO's layout, built by a separate process for measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmdet.registry import DATASETS
from mmengine.registry import DefaultScope

from mmcnn.benchmarks.coco_data import CLASSES


def build(kind: str, root: str | Path) -> Any:
    """Return ``mmcnn.MosaicDataset`` or MMDetection's ``CocoDataset`` of a folder by ``coco_data.write_folder``."""
    inner: dict[str, Any] = dict(
        type='CocoDataset',
        data_root=str(root),
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        metainfo=dict(classes=CLASSES),
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        if kind == 'CocoDataset':
            return DATASETS.build(inner)
        mosaic = [dict(type='mmcnn.MosaicAffine', img_scale=(320, 320))]
        return DATASETS.build(dict(type=kind, dataset=inner, pipeline=mosaic))
