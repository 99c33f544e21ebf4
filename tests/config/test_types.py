"""Every type in a config is looked up before anything is built."""

import re

import pytest
from mmengine.config import Config
from mmengine.registry import HOOKS, OPTIM_WRAPPER_CONSTRUCTORS

from mmcnn.config.files import own_configs
from mmcnn.config.load import load_config
from mmcnn.config.types import check_entries, check_structure, check_types
from mmcnn.errors import UsageError

CONFIG = 'yolov4_cspdarknet53'
PIPELINE = 'val_dataloader.dataset.pipeline'


@pytest.mark.parametrize('name', own_configs())
def test_own_configs_pass(name):
    cfg = load_config(name)
    for training in (True, False):
        check_entries(cfg, training)
        check_types(cfg, training)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            {'optim_wrapper.type': 'AmpOptimWraper'},
            r'optim_wrapper\.type=AmpOptimWraper: .*mean AmpOptimWrapper',
        ),
        ({'optim_wrapper.optimizer.type': 'SGDD'}, r'optim_wrapper\.optimizer\.type=SGDD: no optimizer .* mean SGD'),
        ({'optim_wrapper.constructor': 'Nope'}, r'optim_wrapper\.constructor\.type=Nope: no '),
        ({'train_cfg.type': 'mmcnn.ResumableTrainLop'}, r'train_cfg\.type=.*did you mean mmcnn\.ResumableTrainLoop'),
        ({'train_dataloader.dataset.type': 'Nope'}, r'train_dataloader\.dataset\.type=Nope: no dataset has this name'),
        (
            {f'{PIPELINE}.0.type': 'LoadImageFromFiles'},
            r'pipeline\.0\.type=LoadImageFromFiles: no transform has this name; did you mean .*LoadImageFromFile',
        ),
        (
            {'train_dataloader.dataset.pipeline.0.type': 'mmcnn.MosaicAffin'},
            r'train_dataloader\.dataset\.pipeline\.0\.type=mmcnn\.MosaicAffin: .*did you mean mmcnn\.MosaicAffine',
        ),
        ({'train_dataloader.dataset.dataset.type': 'CocoDatset'}, r'dataset\.dataset\.type=.*did you mean CocoDataset'),
        ({'val_evaluator.type': 'Nope'}, r'val_evaluator\.type=Nope: no metric has this name'),
        ({'default_hooks.timer.type': 'IterTimeHook'}, r'default_hooks\.timer\.type=.*did you mean IterTimerHook'),
        ({'default_hooks.logger.interval': 0}, r'default_hooks\.logger: interval must be greater than 0'),
        ({'custom_hooks': [dict(interval=3)]}, r"custom_hooks\.0 has no type: \{'interval': 3\}"),
    ],
)
def test_what_nothing_is_registered_for_is_named(options, message):
    with pytest.raises(UsageError, match=message):
        check_types(load_config(CONFIG, options))


def test_a_test_does_not_look_at_what_only_a_training_builds():
    cfg = load_config(CONFIG, {'optim_wrapper.optimizer.type': 'Nope', 'train_dataloader.dataset.type': 'Nope'})
    check_types(cfg, training=False)
    cfg.test_evaluator = [dict(type='mmcnn.CocoMetric'), dict(type='Nope')]
    with pytest.raises(UsageError, match=r'test_evaluator\.1\.type=Nope'):
        check_types(cfg, training=False)


def test_what_the_runner_would_build_is_not_refused(monkeypatch):
    """Classes and built objects in place of names; parts that a constructor of the user's reads by itself."""

    class Mine:
        def __init__(self, optim_wrapper_cfg, paramwise_cfg=None):
            pass

    monkeypatch.setitem(OPTIM_WRAPPER_CONSTRUCTORS.module_dict, 'TwoOptimizers', Mine)
    hook = HOOKS.build(dict(type='IterTimerHook'))
    cfg = load_config(CONFIG)
    cfg.default_hooks.timer = None
    cfg.custom_hooks = [hook, dict(type=type(hook)), dict(type='mmengine.hooks.IterTimerHook')]
    cfg.optim_wrapper = dict(constructor='TwoOptimizers', generator=dict(optimizer=dict(type='whatever')))
    cfg.val_evaluator = dict(metrics=[dict(type='mmdet.CocoMetric')])
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[inner, inner])
    check_types(cfg)
    cfg.train_dataloader.dataset.datasets[1] = dict(type='Nope')
    with pytest.raises(UsageError, match=r'train_dataloader\.dataset\.datasets\.1\.type=Nope'):
        check_types(cfg)


@pytest.mark.parametrize('name', ['model', 'test_dataloader', 'optim_wrapper'])
def test_what_a_run_needs_is_missed_by_name(name):
    cfg = load_config(CONFIG)
    cfg.pop(name)
    with pytest.raises(UsageError, match=rf"{CONFIG}\.py has no '{name}'$"):
        check_entries(cfg, training=True)


@pytest.mark.parametrize(
    'options',
    [
        {'model': 3},
        {'train_dataloader': 1},
        {'val_dataloader.dataset': 'x'},
        {'model.backbone': 'vgg11'},
        {'optim_wrapper.optimizer': 0.1},
        {'train_dataloader.dataset.dataset': 1},
        {'default_hooks': [1]},
    ],
)
def test_what_has_to_be_a_dict(options):
    ((name, value),) = options.items()
    with pytest.raises(UsageError, match=f'^{re.escape(f"{name}={value!r}")}: it has to be a dict$'):
        load_config(CONFIG, options)
    check_structure(Config(dict(model=None, custom_hooks=[], val_evaluator=[dict(type='x')])))


@pytest.mark.parametrize('name', ['custom_hooks', 'val_evaluator', 'model.neck', 'train_dataloader.dataset.pipeline'])
def test_what_may_be_a_list_of_dicts(name):
    with pytest.raises(UsageError, match=rf'^{name}=1: it has to be a dict or a list of dicts$'):
        load_config(CONFIG, {name: 1})
