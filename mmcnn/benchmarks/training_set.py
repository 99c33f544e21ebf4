"""A training data set of a folder in COCO's layout, as a process of its own builds it to be measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmdet.registry import DATASETS
from mmengine.registry import DefaultScope

from mmcnn.benchmarks.coco_data import CLASSES


def build(kind: str, root: str | Path) -> Any:
    """``mmcnn.MosaicDataset`` or MMDetection's ``CocoDataset`` of what ``coco_data.write_folder`` has written."""
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
