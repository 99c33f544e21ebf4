"""MMDetection's packaged configs with a swapped backbone: what is tried, how it is recorded, and a dozen real tries."""

import json

import pytest

from mmcnn.zoo import mmdet_matrix
from mmcnn.zoo.mmdet_configs import CONFIGS, FOLDER
from mmcnn.zoo.mmdet_matrix import Tried, read, try_all, try_config

#: The cheapest configs, each with another neck or head.
CHEAP = (
    'retinanet/retinanet_r50_fpn_1x_coco',
    'ghm/retinanet_r50_fpn_ghm-1x_coco',
    'gfl/gfl_r50_fpn_1x_coco',
    'fsaf/fsaf_r50_fpn_1x_coco',
    'paa/paa_r50_fpn_1x_coco',
    'centernet/centernet_r18_8xb16-crop512-140e_coco',
    'yolof/yolof_r50-c5_8xb8-1x_coco',
    'yolox/yolox_tiny_8xb8-300e_coco',
    'ssd/ssd300_coco',
    'faster_rcnn/faster-rcnn_r50-caffe_c4-1x_coco',
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco',
    'maskformer/maskformer_r50_ms-16xb1-75e_coco',
    'detr/detr_r50_8xb2-150e_coco',
)


def test_every_config_is_there():
    assert len(CONFIGS) == len(set(CONFIGS)) and set(CHEAP) <= set(CONFIGS)
    assert [name for name in CONFIGS if not (FOLDER / f'{name}.py').is_file()] == []


@pytest.mark.slow
@pytest.mark.parametrize('config', CHEAP)
def test_it_trains_a_step_and_predicts_as_it_is(config):
    tried = try_config(config, 'mobilenetv2')
    assert tried.reason is None, f'{tried.stage}: {tried.reason}'
    assert tried.stage == 'predict' and tried.notes


def test_refusals_and_failures_are_told_apart(tmp_path, monkeypatch):
    lad = 'lad/lad_r50-paa-r101_fpn_2xb8_coco_1x'
    tried = try_config(lad, 'mobilenetv2', last='build')
    assert (tried.stage, tried.refused) == ('swap', True) and tried.reason.startswith(
        'LAD works with no other backbone'
    )
    monkeypatch.setattr(mmdet_matrix, 'swap_backbone', lambda model, name: 1 / 0)
    tried = try_config(lad, 'mobilenetv2', last='build')
    assert (tried.stage, tried.refused, tried.reason) == ('swap', False, 'ZeroDivisionError: division by zero')


def test_a_file_takes_up_where_it_was_left(tmp_path, monkeypatch):
    into, tried = tmp_path / 'tried.json', []

    def apart(config, network, last, timeout):
        tried.append(config)
        return Tried(config, network, last, notes=('one',))

    monkeypatch.setattr(mmdet_matrix, '_apart', apart)
    first = list(try_all(CONFIGS[:2], ['vgg11'], into=into))
    assert read(into) == first and json.loads(into.read_text())[0]['notes'] == ['one']
    again = list(try_all(CONFIGS[:3], ['vgg11'], into=into))
    assert sorted(tried) == sorted(CONFIGS[:3]) and again[:2] == first


def test_a_pair_that_dies_or_hangs_is_one_result(monkeypatch):
    monkeypatch.setattr(mmdet_matrix, '_send', lambda *_: __import__('os')._exit(9))
    assert next(try_all(CONFIGS[:1])).reason == 'the process ended with exit code 9'
    monkeypatch.setattr(mmdet_matrix, '_send', lambda *_: __import__('time').sleep(60))
    assert next(try_all(CONFIGS[:1], timeout=0.2)).reason == 'not done after 0 s'
