"""Configs by name, by path and from a checkpoint, and the effects of ``--cfg-options`` and ``--backbone``."""

import pytest

from mmcnn.config.entries import merge_options
from mmcnn.config.files import config_folder
from mmcnn.config.load import BACKBONE, load_config, set_backbone
from mmcnn.config.model import wire_model
from mmcnn.errors import UsageError
from mmcnn.runs.options import TrainOptions
from mmcnn.runs.prepare import prepare
from mmcnn.runs.process_state import kept_process_state

CONFIG = 'yolov4_cspdarknet53'


@pytest.fixture
def finished(shapes, tmp_path):
    """Prepare a run: ``finished(epochs=3)``."""

    def finish(config=CONFIG, **options):
        options = dict(data=shapes, work_dir=tmp_path / 'run', device='cpu') | options
        with kept_process_state():
            return prepare(TrainOptions(config=config, **options))

    return finish


@pytest.mark.parametrize('name', [CONFIG, f'{CONFIG}.py', f'configs/{CONFIG}.py', config_folder() / f'{CONFIG}.py'])
def test_config_by_name_or_path(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = load_config(str(name), {'model.bbox_head.num_classes': 7})
    assert cfg.filename == str(config_folder() / f'{CONFIG}.py')
    assert cfg.model.bbox_head.num_classes == 7


@pytest.mark.parametrize('name', ['mmdet::retinanet/retinanet_r50_fpn_1x_coco', f'mmcnn::{CONFIG}.py'])
def test_config_by_its_package_and_name(name):
    cfg = load_config(name)
    assert cfg.filename.endswith(f'{name.partition("::")[2].removesuffix(".py")}.py')
    assert cfg.model.bbox_head.type in ('RetinaHead', 'mmcnn.YOLOHead')


def test_a_mistyped_name_of_a_package_is_refused_with_the_nearest(tmp_path):
    words = r"mmdet has no config 'retinanet/retinanet_r50_fpn_1x'; did you mean retinanet/retinanet_r50_fpn_1x_coco"
    with pytest.raises(UsageError, match=f'^{words}'):
        load_config('mmdet::retinanet/retinanet_r50_fpn_1x')
    (tmp_path / 'mine.py').write_text("_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x'\n")
    with pytest.raises(UsageError, match=f'mine.py. cannot be read as a config: {words}'):
        load_config(str(tmp_path / 'mine.py'))


def test_own_file_comes_before_the_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / CONFIG).with_suffix('.py').write_text('x = 1\n')
    assert load_config(f'{CONFIG}.py').x == 1


@pytest.mark.parametrize(
    ('content', 'name'),
    [
        ('x = (', 'x.py'),
        ("_base_ = 'nowhere.py'\n", 'x.py'),
        ('x', 'x.txt'),
        ('x = y', 'x.py'),
        ('raise RuntimeError', 'x.py'),
        ('x = 1 / 0', 'x.py'),
    ],
)
def test_unusable_config(content, name, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=rf'{name}. cannot be read as a config: .'):
        load_config(str(tmp_path / name))


def test_config_of_another_kind():
    with pytest.raises(UsageError, match=r"config=\{'model': 3\}: it must be a path, a name or a loaded config"):
        load_config(dict(model=3))


def test_misspelt_options_are_noticed(capsys):
    load_config(CONFIG, {'optim_wrapper.optimzer.lr': 0.1, 'train_dataloader.dataset.pipeline.0.scale': (1, 1)})
    assert capsys.readouterr().out == (
        "note: cfg_options optim_wrapper.optimzer.lr: optim_wrapper had no 'optimzer' before; did you mean optimizer?\n"
    )


def test_what_is_typed_wins(finished):
    cfg = finished(epochs=3, batch_size=2, seed=5).cfg
    assert cfg.optim_wrapper.accumulative_counts == 1
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval, cfg.randomness.seed) == (3, 1, 5)
    run = finished(epochs=50, cfg_options={'optim_wrapper.accumulative_counts': 3, 'model.widen_factor': 0.25})
    cfg = run.cfg
    assert cfg.optim_wrapper.accumulative_counts == 3
    assert run.batches().startswith(
        '16 images per iteration, 3 iterations per step: 48 images per step (the config is for 64'
    )
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval) == (50, 5)
    assert cfg.model.neck.in_channels == [64, 128, 256]  # a quarter of 256, 512, 1024: the wired values


@pytest.mark.parametrize('options', [dict(backbone='darknet53'), dict(cfg_options={BACKBONE: 'mmcnn.darknet53'})])
def test_swapping_the_backbone_takes_one_option(finished, options):
    run = finished(**options)
    assert run.cfg.model.backbone.type == 'mmcnn.darknet53'
    assert run.cfg.model.neck.in_channels == [256, 512, 1024]
    assert run.kind.backbone == 'darknet53'
    assert 'backbone: darknet53 in place of mmcnn.cspdarknet53' in run.notes


def on(config, backbone, **options):
    """Return a config with another backbone, as with ``--backbone``."""
    cfg = load_config(config)
    set_backbone(cfg, backbone, options)
    merge_options(cfg, options)
    return cfg


def test_the_backbone_may_be_named_twice_but_not_two_of_them():
    key = 'model.backbone.type'
    for backbone in ('resnet18', 'mmcnn.resnet18'):
        cfg = on(CONFIG, backbone, **{key: 'mmcnn.resnet18'})
        assert cfg.model.backbone.type == 'mmcnn.resnet18'
    with pytest.raises(UsageError, match=r'backbone=resnet18 and cfg_options model\.backbone\.type=mmcnn\.vgg11'):
        on(CONFIG, 'resnet18', **{key: 'mmcnn.vgg11'})


def test_an_old_name_loads_and_says_the_new_one_once(capsys):
    said = []
    cfg = load_config('faster_rcnn_resnet-fpn', {'model.neck.out_channels': 64}, said.append)
    assert said == [
        'note: faster_rcnn_resnet-fpn is now called faster_rcnn_resnet50_fpn; the old name will be '
        'removed in the next release'
    ]
    assert cfg.model.neck.out_channels == 64 and '_deprecation_' not in cfg
    assert cfg.pretty_text == load_config('faster_rcnn_resnet50_fpn', {'model.neck.out_channels': 64}).pretty_text
    assert capsys.readouterr().out == ''


def test_an_old_name_is_a_note_of_the_run(finished, capsys):
    run = finished('faster_rcnn_resnet-fpn', backbone='vgg11')
    assert [note for note in run.notes if 'is now called' in note] == [
        'note: faster_rcnn_resnet-fpn is now called faster_rcnn_resnet50_fpn; the old name will be '
        'removed in the next release'
    ]
    assert '_deprecation_' not in run.cfg and 'is now called' not in capsys.readouterr().out


def test_a_swap_drops_what_belonged_to_the_old_backbone_and_says_so(capsys):
    cfg = on('faster_rcnn_resnet50_fpn', 'vgg16')
    assert cfg.model.backbone == dict(type='mmcnn.vgg16', out_indices=(2, 3, 4, 5))
    assert cfg.model.data_preprocessor.mean == [103.939, 116.779, 123.68] and not cfg.model.data_preprocessor.bgr_to_rgb
    said = capsys.readouterr().out
    for words in ('vgg16 in place of mmcnn.resnet50-tv', 'init_cfg=', 'frozen_stages=2', 'norm_eval=True', 'bgr'):
        assert words in said
    set_backbone(cfg, 'vgg16', {})  # a second time
    assert cfg.model.backbone.type == 'mmcnn.vgg16' and capsys.readouterr().out == ''
    wire_model(cfg)
    assert cfg.model.neck.in_channels == [256, 512, 512, 512]


def test_with_weights_of_its_own_the_new_backbone_stays_frozen():
    weights = {'model.backbone.init_cfg.type': 'Pretrained', 'model.backbone.init_cfg.checkpoint': 'own.pth'}
    cfg = on('faster_rcnn_resnet50_fpn', 'resnet18', **weights)
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
        ('yolov5_s', 'restnet50', "unknown backbone 'restnet50'; did you mean resnet50"),
    ],
)
def test_a_swap_that_cannot_work_is_refused(config, backbone, words):
    with pytest.raises(UsageError, match=words):
        on(config, backbone)


def test_a_classifier_swaps_too():
    cfg = on('classification/resnet50', 'vgg11')
    assert cfg.model.backbone == dict(type='mmcnn.vgg11')
