"""COCO annotations without polygons, for data sets of which only the boxes are used."""

from __future__ import annotations

import json
from array import array
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.registry import DATASETS


class BoxesOnlyCOCO(COCO):
    """The index of an annotation file without ``segmentation``.

    Polygons take four fifths of the memory of COCO's training annotations, as lists of numbers. They are dropped
    while the file is parsed, one annotation at a time, so that they are never in memory together.
    """

    def __init__(self, annotation_file: str) -> None:
        super().__init__()
        with open(annotation_file, encoding='utf-8') as file:
            self.dataset = json.load(file, object_hook=_without_polygons)
        self.createIndex()
        self.img_ann_map, self.cat_img_map = self.imgToAnns, self.catToImgs


class BoxesOnlyCocoDataset(CocoDataset):
    """MMDetection's ``CocoDataset`` with the same images and boxes, without masks."""

    COCOAPI = BoxesOnlyCOCO

    def load_data_list(self) -> list[dict]:
        """Load the list like MMDetection's data set, and pack the lists that are kept beside it.

        A list of all boxes' image ids contains number objects scattered among everything else that was parsed, so
        that this memory could not be returned to the system.
        """
        found = super().load_data_list()
        self.cat_img_map = defaultdict(list, {key: _packed(ids) for key, ids in self.cat_img_map.items()})
        return found


def without_masks(config: Any) -> Any:
    """Return the config of a data set in which each plain ``CocoDataset``, also inside wrappers, reads boxes only.

    Subclasses are not changed, because they may make boxes from polygons.
    """
    if not isinstance(config, dict):
        return config
    changed = {**config}
    kind = config.get('type')
    if (DATASETS.get(kind) if isinstance(kind, str) else kind) is CocoDataset:
        changed['type'] = BoxesOnlyCocoDataset
    if 'dataset' in config:
        changed['dataset'] = without_masks(config['dataset'])
    if isinstance(config.get('datasets'), list | tuple):
        changed['datasets'] = [without_masks(each) for each in config['datasets']]
    return changed


def _without_polygons(entry: dict) -> dict:
    entry.pop('segmentation', None)
    return entry


def _packed(ids: list) -> Sequence:
    try:
        return array('q', ids)
    except (TypeError, OverflowError):  # ids may be text
        return ids
