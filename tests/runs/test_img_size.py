"""img_size: the size of the network input of detectors and classifiers."""

import re

import pytest
from mmengine.config import Config

import mmcnn
from mmcnn.config.load import load_config
from mmcnn.errors import UsageError
from mmcnn.runs.data_sets import inner_dataset
from mmcnn.runs.img_size import image_size, other_size, set_img_size

CLASSIFIER = 'classification/darknet53'
CONFIG = 'yolov4_cspdarknet53'
DARKNET = 'yolov4_cspdarknet53_darknet'


def test_img_size_reaches_every_transform():
    cfg = load_config(DARKNET)
    set_img_size(cfg, 416)
    sizes = re.findall(r"'img_scale': (\(\d+, \d+\))", repr(cfg.to_dict()))
    assert len(sizes) >= 4
    assert set(sizes[-4:]) == {'(416, 416)'}
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        scaled = [step for step in cfg[loader].dataset.pipeline if 'img_scale' in step]
        assert [step.img_scale for step in scaled] == [(416, 416)]
    # 480 and 896 at 608 correspond to 328.4 and 613.05 at 416, which are rounded to multiples of 32.
    assert cfg.model.data_preprocessor.batch_augments[0].random_size_range == (320, 608)


def test_img_size_needs_a_transform_to_set():
    with pytest.raises(UsageError, match='no transform with an img_scale'):
        set_img_size(Config(dict(model=dict())), 64)


@pytest.mark.parametrize(
    ('config', 'size'), [(CONFIG, (640, 640)), (DARKNET, (608, 608)), ('faster_rcnn_fpn', (1333, 800))]
)
def test_image_size_is_that_of_the_test_pipeline(config, size):
    cfg = load_config(config)
    assert image_size(cfg) == size
    pipeline = inner_dataset(cfg.test_dataloader).pipeline
    pipeline[:] = [step for step in pipeline if not {'img_scale', 'scale'} & step.keys()]
    assert image_size(cfg) is None


def test_another_size_than_that_of_the_checkpoint_is_reported():
    cfg, own = load_config(CONFIG), load_config(CONFIG)
    set_img_size(own, 160)
    assert other_size(cfg, own, 'best.pth') == (
        'best.pth was trained for images of 160 px, but the config has 640 px; '
        'img_size=160 evaluates it at its own size'
    )
    assert other_size(own, own, 'best.pth') == other_size(cfg, Config(), 'best.pth') == ''


def scales(cfg, loader):
    return [t.scale for t in inner_dataset(cfg[loader]).pipeline if 'scale' in t]


def test_img_size_of_mmdetections_transforms_is_the_longer_side():
    cfg = load_config('yolov3_darknet53')
    set_img_size(cfg, 320)
    # 320 to 608 px are scaled by 0.53 and rounded to multiples of 32: 5.3 and 10 of them.
    assert scales(cfg, 'train_dataloader') == [[(160, 160), (320, 320)]]
    assert scales(cfg, 'val_dataloader') == [(320, 320)]
    cfg = load_config('faster_rcnn_resnet50_fpn')
    set_img_size(cfg, 320)
    assert scales(cfg, 'train_dataloader') == scales(cfg, 'test_dataloader') == [(320, 320)]
    with pytest.raises(UsageError, match=r'img_size=100: it must be a multiple of 32'):
        set_img_size(cfg, 100)


def pipelines(cfg):
    return [inner_dataset(cfg[f'{part}_dataloader']).pipeline for part in ('train', 'val', 'test')]


def sizes(cfg):
    return [step.img_scale for pipeline in pipelines(cfg) for step in pipeline if 'img_scale' in step]


def test_image_size_is_that_of_the_row(shape_classes):
    cfg = load_config(CLASSIFIER)
    assert sizes(cfg) == [None] * 3
    set_img_size(cfg, None)
    assert sizes(cfg) == [(256, 256)] * 3  # Darknet's ImageNet classifiers
    cfg = load_config(CLASSIFIER, {'model.backbone.type': 'mmcnn.cspdarknet53-focus'})
    own = mmcnn.build_classifier('cspdarknet53-focus').image.size
    set_img_size(cfg, None)
    assert sizes(cfg) == [(own, own)] * 3


def test_image_size_that_is_typed():
    cfg = load_config(CLASSIFIER)
    set_img_size(cfg, 100)
    assert sizes(cfg) == [(100, 100)] * 3
    set_img_size(cfg, None)  # as in a recorded config
    assert sizes(cfg) == [(100, 100)] * 3
    with pytest.raises(UsageError, match='img_size=31: it must be at least 32'):
        set_img_size(cfg, 31)


def test_image_too_small_for_the_network(monkeypatch):
    def narrow_way(self, inputs):
        raise RuntimeError('Kernel size can not be greater than actual input size\nand more')

    monkeypatch.setattr('mmcnn.models.classifiers.Classifier.forward', narrow_way)
    with pytest.raises(UsageError, match=r'img_size=64: too small for mmcnn\.darknet53 \(Kernel size .* size\)$'):
        set_img_size(load_config(CLASSIFIER), 64)
