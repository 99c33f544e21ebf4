"""A training data set for a folder in COCO's layout, built by a separate process for measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmdet.registry import DATASETS
from mmengine.registry import DefaultScope

from mmcnn.benchmarks.coco_data import CLASSES
from mmcnn.benchmarks.pipeline import mmdet_config


def build(kind: str, root: str | Path) -> Any:
    """Return a data set of a folder by ``coco_data.write_folder``.

    Args:
        kind: ``mmcnn.MosaicDataset``, or MMDetection's ``CocoDataset`` without a pipeline or ``MultiImageMixDataset``
            with its mosaic.
        root: the folder.
    """
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
        if kind == 'MultiImageMixDataset':
            return DATASETS.build(mmdet_config(inner, 320))
        mosaic = [dict(type='mmcnn.MosaicAffine', img_scale=(320, 320))]
        return DATASETS.build(dict(type=kind, dataset=inner, pipeline=mosaic))
