"""The transforms that MMDetection's tools regard as loading."""

import mmdet.datasets
import mmdet.datasets.utils
import pytest
from mmengine.config import Config

import mmcnn.datasets  # noqa: F401  registers the mosaics
from mmcnn.compat import loading_pipeline
from mmcnn.config.files import own_configs

DETECTORS = [name for name in own_configs() if '/' not in name]


@pytest.mark.parametrize('holder', [mmdet.datasets, mmdet.datasets.utils], ids=['package', 'module'])
@pytest.mark.parametrize('name', DETECTORS)
def test_every_config_of_ours_has_two(name, holder):
    steps = holder.get_loading_pipeline(Config.fromfile(own_configs()[name]).train_dataloader.dataset.pipeline)
    assert [step['type'] for step in steps] == ['LoadImageFromFile', 'LoadAnnotations']
    assert steps[1]['with_bbox']


def test_other_pipelines_are_left_to_mmdetection():
    steps = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_mask=True), dict(type='PackDetInputs')]
    assert mmdet.datasets.get_loading_pipeline(steps) == steps[:2]
    for pipeline in ([], [dict(type='PackDetInputs')], [dict(type='nowhere')]):
        with pytest.raises(AssertionError, match='must include loading image and annotations'):
            mmdet.datasets.get_loading_pipeline(pipeline)


def test_it_is_installed_once():
    once = mmdet.datasets.utils.get_loading_pipeline
    loading_pipeline.install()
    assert mmdet.datasets.utils.get_loading_pipeline is once
