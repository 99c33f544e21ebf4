"""Configs by name, by path and from a checkpoint, and what ``--cfg-options`` and ``--backbone`` change in them."""

import argparse

import pytest
from mmengine.config import Config

from mmcnn import cli
from mmcnn.runs.configs import config_folder

CONFIG = 'yolov4_cspdarknet53'


@pytest.fixture
def finished_config(run_tool, shapes, monkeypatch, tmp_path):
    """The config that tools/train.py would train with: ``finished_config('--epochs', 3)``."""
    configs = []
    monkeypatch.setattr('mmcnn.engine.training.train', lambda cfg, summary, *_: configs.append((cfg, summary)))

    def finish(*args, config=CONFIG, data=shapes):
        result = run_tool('train', config, '--data', data, '--work-dir', tmp_path / 'run', '--device', 'cpu', *args)
        assert result.code == 0, result.err
        return configs.pop()

    return finish


@pytest.mark.parametrize('name', [CONFIG, f'{CONFIG}.py', f'configs/{CONFIG}.py', config_folder() / f'{CONFIG}.py'])
def test_config_by_name_or_path(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = cli.load_config(str(name), {'model.bbox_head.num_classes': 7})
    assert cfg.filename == str(config_folder() / f'{CONFIG}.py')
    assert cfg.model.bbox_head.num_classes == 7


def test_own_file_comes_before_the_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / CONFIG).with_suffix('.py').write_text('x = 1\n')
    assert cli.load_config(f'{CONFIG}.py').x == 1


@pytest.mark.parametrize(
    ('content', 'name'),
    [('x = (', 'x.py'), ("_base_ = 'nowhere.py'\n", 'x.py'), ('x', 'x.txt')],
)
def test_unusable_config(content, name, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(cli.UsageError, match=rf'{name}. is no usable config: .'):
        cli.load_config(str(tmp_path / name))


def test_misspelt_options_are_noticed(capsys):
    cli.load_config(CONFIG, {'optim_wrapper.optimzer.lr': 0.1, 'train_dataloader.dataset.pipeline.0.scale': (1, 1)})
    assert capsys.readouterr().out == (
        "note: optim_wrapper had no 'optimzer' before --cfg-options optim_wrapper.optimzer.lr; "
        'did you mean optimizer?\n'
    )


def test_what_is_typed_wins(finished_config):
    cfg, _ = finished_config('--epochs', 3, '--batch-size', 2, '--seed', 5)
    assert cfg.optim_wrapper.accumulative_counts == 1
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval, cfg.randomness.seed) == (3, 1, 5)
    cfg, summary = finished_config(
        '--epochs', 50, '--cfg-options', 'optim_wrapper.accumulative_counts=3', 'model.widen_factor=0.25'
    )
    assert cfg.optim_wrapper.accumulative_counts == 3
    assert summary.startswith('16 images an iteration, 3 iterations a step: 48 images a step (the recipe is')
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval) == (50, 5)
    assert cfg.model.neck.in_channels == [64, 128, 256]  # a quarter of 256, 512, 1024: wired, and dumped so


def test_work_dir():
    assert cli.default_work_dir(cli.load_config(CONFIG), None) == f'work_dirs/{CONFIG}'
    assert cli.default_work_dir(cli.load_config(CONFIG), 'mine') == 'mine'
    assert cli.default_work_dir(Config(dict(work_dir='recorded')), None) == 'recorded'


def test_config_and_checkpoint(trained):
    recorded, checkpoint = cli.config_and_checkpoint(None, str(trained.checkpoint), {'model.bbox_head.num_classes': 9})
    assert recorded.model.bbox_head.num_classes == 9
    assert checkpoint['meta']['epoch'] == 2
    named, _ = cli.config_and_checkpoint(CONFIG, str(trained.checkpoint), {})
    assert named.model.bbox_head.num_classes == 80


def test_swapping_the_backbone_takes_one_option(finished_config):
    cfg, _ = finished_config('--cfg-options', 'model.backbone.type=mmcnn.darknet53')
    assert cfg.model.backbone.type == 'mmcnn.darknet53'
    assert cfg.model.neck.in_channels == [256, 512, 1024]


def options(backbone=None, **cfg_options):
    return cli.options_of(argparse.Namespace(backbone=backbone, cfg_options=cfg_options))


def test_a_swap_drops_what_belonged_to_the_old_backbone_and_says_so(capsys):
    cfg = cli.load_config('faster_rcnn_resnet-fpn', options('vgg16'))
    assert cfg.model.backbone == dict(type='mmcnn.vgg16', out_indices=(2, 3, 4, 5))
    assert cfg.model.data_preprocessor.mean == [103.939, 116.779, 123.68] and not cfg.model.data_preprocessor.bgr_to_rgb
    said = capsys.readouterr().out
    for words in ('vgg16 in place of mmcnn.resnet50-tv', 'init_cfg=', 'frozen_stages=2', 'norm_eval=True', 'bgr'):
        assert words in said
    cli.merge_options(cfg, options('vgg16'))  # again, as the tools do
    assert cfg.model.backbone.type == 'mmcnn.vgg16' and capsys.readouterr().out == ''
    cli.wire_model(cfg)
    assert cfg.model.neck.in_channels == [256, 512, 512, 512]


def test_with_weights_of_its_own_the_new_backbone_stays_frozen():
    weights = {'model.backbone.init_cfg.type': 'Pretrained', 'model.backbone.init_cfg.checkpoint': 'own.pth'}
    cfg = cli.load_config('faster_rcnn_resnet-fpn', options('resnet18', **weights))
    assert cfg.model.backbone == dict(
        type='mmcnn.resnet18',
        out_indices=(2, 3, 4, 5),
        frozen_stages=2,
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='own.pth'),
    )


@pytest.mark.parametrize(
    ('config', 'backbone', 'words'),
    [
        ('yolov4_cspdarknet53', 'fpn', r'\(fpn\) has no level 5; its levels are \[0, 1, 2, 3, 4\]'),
        ('yolov5_s', 'restnet50', "no backbone is called 'restnet50'; did you mean resnet50"),
    ],
)
def test_a_swap_that_cannot_work_is_refused(config, backbone, words):
    with pytest.raises(cli.UsageError, match=words):
        cli.load_config(config, options(backbone))


def test_a_classifier_swaps_too():
    cfg = cli.load_config('classification/resnet50', options('vgg11'))
    assert cfg.model.backbone == dict(type='mmcnn.vgg11')
