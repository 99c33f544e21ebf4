"""Boxes are read as MMDetection reads them, and polygons are discarded."""

import json
import pickle

import pytest
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.config import ConfigDict

from mmcnn.benchmarks.coco_data import CLASSES, coco_dict
from mmcnn.datasets.mosaic.boxes_only import BoxesOnlyCocoDataset, without_masks


class OwnCocoDataset(CocoDataset):
    """A user's subclass, which may compute boxes from polygons."""


def config(path, **entries):
    entries = dict(data_prefix=dict(img='images/'), metainfo=dict(classes=CLASSES)) | entries
    return ConfigDict(type='CocoDataset', ann_file=str(path), **entries)


@pytest.fixture(params=['numbers', 'text'])
def file(tmp_path, request):
    coco = coco_dict(25, 120)
    coco['annotations'][3]['segmentation'] = dict(size=[480, 640], counts=[0, 640 * 480])
    coco['annotations'][4]['area'] = 0  # filtered out
    if request.param == 'text':
        for each in coco['images']:
            each['id'] = f'image {each["id"]}'
        for each in coco['annotations']:
            each['image_id'] = f'image {each["image_id"]}'
    path = tmp_path / 'train.json'
    path.write_text(json.dumps(coco))
    return path


@pytest.mark.parametrize('filtered', [False, True])
def test_images_and_boxes_are_those_of_mmdetection(file, filtered):
    given = config(file, filter_cfg=dict(filter_empty_gt=filtered), indices=20)
    theirs, ours = (DATASETS.build(each) for each in (given, without_masks(given)))
    assert type(ours) is BoxesOnlyCocoDataset and len(ours) == len(theirs) > 10
    masks = 0
    for number in range(len(theirs)):
        expected = theirs.get_data_info(number)
        masks += sum(instance.pop('mask', None) is not None for instance in expected['instances'])
        assert ours.get_data_info(number) == expected
    assert masks > 20
    assert ours.cat_img_map.keys() == theirs.cat_img_map.keys()
    assert all([*ours.cat_img_map[key]] == ids for key, ids in theirs.cat_img_map.items())


def test_it_goes_to_workers_that_are_spawned(file):
    dataset = pickle.loads(pickle.dumps(DATASETS.build(without_masks(config(file)))))
    assert len(dataset) == 25


def test_wrappers_and_own_data_sets():
    given = dict(
        type='RepeatDataset', times=2,
        dataset=dict(type='ConcatDataset', datasets=[config('a'), dict(type=OwnCocoDataset), dict(type='LVISDataset')]),
    )  # fmt: skip
    inside = without_masks(given)['dataset']['datasets']
    assert [each['type'] for each in inside] == [BoxesOnlyCocoDataset, OwnCocoDataset, 'LVISDataset']
    assert given['dataset']['datasets'][0]['type'] == 'CocoDataset'  # the user's config is unchanged
    assert without_masks(dict(type='mmdet.CocoDataset'))['type'] is BoxesOnlyCocoDataset
