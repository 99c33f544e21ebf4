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

    Of COCO's training images the polygons are four fifths of the memory, as lists of numbers. They are dropped while
    the file is parsed, an annotation at a time, and so are never there together.
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
        """As MMDetection's; what it keeps beside the list is packed.

        A list of all boxes' image ids holds numbers that lie between all else that was parsed, whose memory could not
        be given back to the system.
        """
        found = super().load_data_list()
        self.cat_img_map = defaultdict(list, {key: _packed(ids) for key, ids in self.cat_img_map.items()})
        return found


def without_masks(config: Any) -> Any:
    """Return the config of a data set in which each plain ``CocoDataset``, inside of wrappers too, reads boxes only.

    Subclasses stay what they are: they may make boxes of polygons.
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
