"""--cfg-options: entries that are set, entries that variables were copied to, and the notes about both."""

import pytest
from mmengine.config import Config

from mmcnn.config.entries import merge_options, set_again
from mmcnn.config.load import load_config
from mmcnn.errors import UsageError

NARROW = 'yolov4_cspdarknet53_narrow'
MOSAIC = 'train_dataloader.dataset.pipeline.0'


def changed(config, options):
    """Return the config with these options, and the notes."""
    said = []
    cfg = load_config(config) if isinstance(config, str) else config
    merge_options(cfg, options, said.append)
    return cfg, said


def value(cfg, path):
    for part in path.split('.'):
        cfg = cfg[int(part)] if part.isdigit() else cfg[part]
    return cfg


@pytest.mark.parametrize(
    ('config', 'option', 'new', 'paths'),
    [
        (NARROW, 'train_pipeline.0.mosaic_prob', 0, [f'{MOSAIC}.mosaic_prob']),
        (NARROW, 'mosaic_affine.flip_prob', 0.25, [f'{MOSAIC}.flip_prob']),
        (NARROW, 'ema_hook.momentum', 0.5, ['custom_hooks.1.momentum']),
        (NARROW, 'schedule_hook.lr_final', 0.3, ['custom_hooks.0.lr_final']),
        (NARROW, 'vis_backends.1.type', 'WandbVisBackend', ['visualizer.vis_backends.1.type']),
        (
            NARROW,
            'img_scale',
            (64, 64),
            [f'{MOSAIC}.img_scale', *(f'{part}_dataloader.dataset.pipeline.1.img_scale' for part in ('val', 'test'))],
        ),
        (
            'faster_rcnn_resnet50_fpn',
            'img_scale',
            (640, 400),
            [
                'train_dataloader.dataset.pipeline.2.scale',
                *(f'{part}_dataloader.dataset.pipeline.1.scale' for part in ('val', 'test')),
            ],
        ),
        (
            'classification/resnet50',  # its img_scale is None
            'img_scale',
            (64, 64),
            [f'{part}_dataloader.dataset.pipeline.1.img_scale' for part in ('train', 'val', 'test')],
        ),
    ],
)
def test_an_option_to_a_variable_reaches_what_is_read(config, option, new, paths):
    cfg, said = changed(config, {option: new})
    assert [value(cfg, path) for path in paths] == [new] * len(paths)
    (line,) = said
    assert line.startswith(f"note: cfg_options {option}: '{option.split('.')[0]}' is only a variable of the config")
    assert all(path in line for path in paths)


def test_a_number_goes_where_the_name_fits():
    cfg, (line,) = changed(NARROW, {'max_epochs': 3})
    assert (cfg.train_cfg.max_epochs, cfg.model.test_cfg.max_per_img) == (3, 300)
    assert line.endswith(
        'it also sets train_cfg.max_epochs; model.test_cfg.max_per_img also has the value 300 and is not changed'
    )


def test_paths_that_begin_with_the_variable_follow_it():
    cfg, (line,) = changed(NARROW, {'data_root': '/mine'})
    for part in ('val', 'test'):
        assert cfg[f'{part}_dataloader'].dataset.data_root == '/mine'
        assert cfg[f'{part}_evaluator'].ann_file == '/mine/annotations/instances_val2017.json'
    assert cfg.train_dataloader.dataset.dataset.data_root == '/mine'
    assert 'val_evaluator.ann_file and 1 more' in line


def test_variables_of_a_user_s_own():
    own = dict(
        classes=('cat', 'dog'),
        base_lr=0.02,
        unused=7,
        train_dataloader=dict(batch_size=2, dataset=dict(type='X', metainfo=dict(classes=('cat', 'dog')))),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.02, weight_decay=0.02)),
    )
    cfg, said = changed(Config(own), {'classes': ('a', 'b'), 'base_lr': 0.5, 'unused': 8})
    assert cfg.train_dataloader.dataset.metainfo.classes == ('a', 'b')
    assert (cfg.optim_wrapper.optimizer.lr, cfg.optim_wrapper.optimizer.weight_decay) == (0.5, 0.02)
    assert said[2].startswith("note: cfg_options unused has no effect: 'unused'") and len(said) == 3


@pytest.mark.parametrize(
    ('option', 'words'),
    [
        ('batch_size', 'the entries in use are train_dataloader.batch_size, val_dataloader.batch_size'),
        ('batchsize', 'did you mean batch_size'),
    ],
)
def test_a_name_that_nothing_reads_is_said(option, words):
    _, (line,) = changed(NARROW, {option: 3})
    assert line.startswith(f"note: cfg_options {option} has no effect: '{option}'") and words in line


def test_a_variable_with_no_copy_names_the_entry_of_its_kind():
    cfg = load_config(NARROW)
    cfg.train_dataloader.dataset.pipeline[0].flip_prob = 0.1  # a user's change
    cfg, (line,) = changed(cfg, {'mosaic_affine.mosaic_prob': 0})
    assert cfg.train_dataloader.dataset.pipeline[0].mosaic_prob == 1.0
    assert line.endswith(f'no entry has its value; the entries in use are {MOSAIC}.mosaic_prob')


def test_an_entry_that_is_named_keeps_its_own_value():
    options = {'img_scale': (64, 64), f'{MOSAIC}.img_scale': (96, 96)}
    cfg, said = changed(NARROW, options)
    assert cfg.train_dataloader.dataset.pipeline[0].img_scale == (96, 96)
    assert cfg.val_dataloader.dataset.pipeline[1].img_scale == (64, 64)
    assert said[0] == f'note: cfg_options img_scale: {MOSAIC}.img_scale is set by another option'
    whole = {'train_dataloader.dataset.pipeline': [dict(type='x')], 'train_pipeline.0.mosaic_prob': 0}
    assert changed(NARROW, whole)[0].train_dataloader.dataset.pipeline == [dict(type='x')]


def test_what_was_set_can_be_set_again():
    options = {'img_scale': (64, 64), 'optim_wrapper.optimizer': dict(type='Adam', _delete_=True)}
    cfg = load_config(NARROW)
    done = merge_options(cfg, options, lambda note: None)
    assert options['optim_wrapper.optimizer'] == dict(type='Adam', _delete_=True)
    assert cfg.optim_wrapper.optimizer == dict(type='Adam')
    cfg.train_dataloader.dataset.pipeline[0].img_scale = (1, 1)
    cfg.optim_wrapper.optimizer.lr = 0.5  # derived afterwards
    set_again(cfg, done)
    assert cfg.train_dataloader.dataset.pipeline[0].img_scale == (64, 64)
    assert cfg.optim_wrapper.optimizer == dict(type='Adam', lr=0.5)


def test_what_was_worked_out_inside_of_a_typed_list_stays():
    cfg = load_config(NARROW)
    typed = {'val_evaluator': [dict(type='A', x=1), dict(type='B')], 'train_dataloader.dataset': dict(type='C', y=2)}
    done = merge_options(cfg, typed, lambda note: None)
    cfg.val_evaluator[0].update(x=3, ann_file='val.json')
    cfg.train_dataloader.dataset = dict(type='D', z=1)
    set_again(cfg, done)
    assert cfg.val_evaluator == [dict(type='A', x=1, ann_file='val.json'), dict(type='B')]
    assert cfg.train_dataloader.dataset == dict(type='D', z=1)


@pytest.mark.parametrize('before', [None, 'nothing', dict(type='Other', prefix='x')])
def test_a_dict_takes_the_place_of_what_is_none(before):
    cfg = Config(dict(model=dict(backbone=dict(type='B', init_cfg=before))))
    changed(cfg, {'model.backbone.init_cfg': dict(type='Pretrained', checkpoint='x')})
    kept = dict(prefix='x') if isinstance(before, dict) else {}
    assert cfg.model.backbone.init_cfg == dict(type='Pretrained', checkpoint='x', **kept)
    cfg = Config(dict(model=dict(backbone=dict(type='B'))))
    changed(cfg, {'model.backbone.init_cfg': dict(type='Pretrained', _delete_=True)})
    assert cfg.model.backbone.init_cfg == dict(type='Pretrained')
    cfg = Config(dict(model=dict(backbone=dict(type='B', init_cfg=None))))
    changed(cfg, {'model.backbone.init_cfg.type': 'Pretrained'})
    assert cfg.model.backbone.init_cfg == dict(type='Pretrained')


@pytest.mark.parametrize(
    ('option', 'words'),
    [
        ('train_dataloader.dataset.pipeline.7.x', r'train_dataloader\.dataset\.pipeline is a list with entries 0'),
        ('train_dataloader.dataset.pipeline.x.y', 'pipeline is a list with entries 0 to 1'),
        (f'{MOSAIC}.img_scale.0', r'img_scale=\(640, 640\) has no entries; set it as a whole'),
        ('train_dataloader.batch_size.x', r'train_dataloader\.batch_size=16 has no entries'),
    ],
)
def test_a_path_through_what_has_no_entries(option, words):
    with pytest.raises(UsageError, match=words):
        changed(NARROW, {option: 1})


def test_an_entry_that_nothing_would_refuse_is_said():
    _, (line,) = changed(NARROW, {'model.test_cfg.score_thrr': 0.1})
    assert line == (
        "note: cfg_options model.test_cfg.score_thrr: model.test_cfg had no 'score_thrr' before; "
        'did you mean score_thr?'
    )
