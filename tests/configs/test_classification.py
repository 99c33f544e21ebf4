"""Every config in configs/classification/: one per family, complete, and trainable with one command."""

import math

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.structures import BaseDataElement

import mmcnn
from mmcnn.config.files import config_folder
from mmcnn.config.load import load_config
from mmcnn.config.model import build_on_meta, wire_model
from mmcnn.datasets.transforms import RandomResizedCrop, ResizedCenterCrop
from mmcnn.models.classifiers import list_classifiers
from mmcnn.registry import BACKBONE_FAMILIES, DATASETS, MODELS, TRANSFORMS
from mmcnn.runs.img_size import set_img_size

FOLDER = config_folder() / 'classification'
LEAVES = sorted(path.stem for path in FOLDER.glob('*.py'))
#: The tests of the others are slow.
QUICK = ('darknet53', 'mobilenetv2', 'resnet50', 'vgg16')
#: Networks of depthwise convolutions need more iterations.
EPOCHS = {'mobilenet': 300, 'mobilenetv2': 300, 'mobilenetv3-large': 300, 'efficientnet-b0': 300}


def config(name):
    return load_config(f'classification/{name}')


def test_there_is_one_for_each_family():
    classifying = {BACKBONE_FAMILIES[name] for name in list_classifiers()}
    covered = {BACKBONE_FAMILIES[name] for name in LEAVES if name in BACKBONE_FAMILIES}
    assert {cls.__name__ for cls in classifying - covered} == set()


@pytest.mark.parametrize('name', LEAVES)
def test_backbone_is_the_one_of_the_file_name(name):
    cfg = config(name)
    assert name in mmcnn.list_backbones()
    assert cfg.model.backbone == dict(type=f'mmcnn.{name}')
    assert cfg.model.type == 'mmcnn.Classifier'
    wire_model(cfg)
    built, own = build_on_meta(cfg), meta_classifier(name)
    assert mmcnn.count_parameters(built) == mmcnn.count_parameters(own)
    assert built.top.classes.out_features == 1000


def meta_classifier(name):
    with torch.device('meta'):
        return mmcnn.build_classifier(name)


@pytest.mark.parametrize('name', LEAVES)
def test_images_have_the_size_of_the_row(name):
    cfg = config(name)
    set_img_size(cfg, None)
    size = meta_classifier(name).image.size
    for part, crop in (('train', RandomResizedCrop), ('val', ResizedCenterCrop), ('test', ResizedCenterCrop)):
        with DefaultScope.overwrite_default_scope('mmdet'):
            pipeline = [TRANSFORMS.build(step) for step in cfg[f'{part}_dataloader'].dataset.pipeline]
        (found,) = [step for step in pipeline if isinstance(step, crop)]
        assert found.img_scale == (size, size)


@pytest.mark.parametrize(
    'name', [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in LEAVES]
)
def test_a_narrow_form_learns_four_images(name):
    """Build, initialise and train a narrow form as the Runner does."""
    cfg = config(name)
    cfg.model.update(widen_factor=0.25, deepen_factor=0.33, num_classes=3)
    cfg.optim_wrapper.accumulative_counts = 1
    cfg.optim_wrapper.optimizer.lr = 0.03
    wire_model(cfg)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
        model.init_weights()
        optim = build_optim_wrapper(model, cfg.optim_wrapper)
    model.top.dropout.p = 0.0
    batch = dict(
        inputs=list(torch.randint(0, 256, (4, 3, 96, 96), dtype=torch.uint8)),
        data_samples=[BaseDataElement(gt_label=label) for label in (0, 1, 2, 0)],
    )
    losses = [model.train().train_step(batch, optim)['loss'].item() for _ in range(20)]
    assert all(map(math.isfinite, losses))
    assert losses[-1] < 0.5 * losses[0], losses


@pytest.mark.parametrize('name', LEAVES)
def test_recipe_of_256_images_a_step(name):
    cfg = config(name)
    assert cfg.train_dataloader.batch_size * cfg.optim_wrapper.accumulative_counts == cfg.nominal_batch_size == 256
    assert cfg.train_cfg.max_epochs == cfg.max_epochs == EPOCHS.get(name, 100)
    kinds = [hook.type for hook in cfg.custom_hooks]
    assert kinds == ['mmcnn.ScheduleHook', *(['mmcnn.StepEMAHook'] if name in EPOCHS else [])]
    assert cfg.custom_hooks[0].lr_final == 0
    assert cfg.default_hooks.checkpoint.save_best == 'accuracy/top1'
    for part, folder in (('train', 'train/'), ('val', 'val/'), ('test', 'val/')):
        dataset = cfg[f'{part}_dataloader'].dataset
        assert DATASETS.get(dataset.type) is not None
        assert (dataset.data_root, dataset.data_prefix) == ('data/imagenet/', dict(img=folder))
        assert cfg[f'{part}_dataloader'].sampler.shuffle == (part == 'train')


def test_nothing_of_a_detector_is_left():
    text = Config.fromfile(FOLDER / 'darknet53.py').pretty_text
    for word in ('Det', 'coco', 'bbox'):
        assert word not in text
