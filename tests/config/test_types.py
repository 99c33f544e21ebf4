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
    """Classes and objects instead of names, and parts that are only read by a user's constructor."""

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


@pytest.mark.parametrize('name', ['model', 'train_dataloader', 'optim_wrapper'])
def test_what_a_run_needs_is_missed_by_name(name):
    cfg = load_config(CONFIG)
    cfg.pop(name)
    with pytest.raises(UsageError, match=rf"{CONFIG}\.py has no '{name}'$"):
        check_entries(cfg, training=True)


def test_a_training_has_all_of_validation_or_none_of_it():
    cfg = load_config(CONFIG)
    cfg.update(val_cfg=None, val_dataloader=None, val_evaluator=None)
    check_entries(cfg, training=True)
    cfg.pop('test_dataloader')
    with pytest.raises(UsageError, match=r'^test_dataloader is None or missing, but not test_cfg and test_evaluator'):
        check_entries(cfg, training=True)
    cfg.update(test_cfg=None, test_evaluator=None)
    check_entries(cfg, training=True)
    with pytest.raises(UsageError, match="has no 'test_dataloader'"):
        check_entries(cfg, training=False)


@pytest.mark.parametrize(
    ('path', 'value', 'words'),
    [
        ('default_scope', 1, 'a string'),
        ('train_dataloader.batch_size', 'x', 'an integer of at least 1'),
        ('train_dataloader.batch_size', True, 'an integer of at least 1'),
        ('val_dataloader.num_workers', -1, 'an integer of at least 0'),
        ('train_cfg.max_epochs', 2.5, 'an integer of at least 1'),
        ('optim_wrapper.optimizer.lr', 'fast', 'a number of at least 0'),
        ('optim_wrapper.optimizer.lr', float('nan'), 'a number of at least 0'),
        ('resume', 'yes', 'True or False'),
    ],
)
def test_a_value_of_another_kind_is_named(path, value, words):
    with pytest.raises(UsageError, match=rf'^{re.escape(f"{path}={value!r}")}: it must be {words}$'):
        load_config(CONFIG, {path: value})


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (
            {'train_dataloader.batchsize': 2},
            r"train_dataloader: a data loader takes no argument 'batchsize'; .*mean batch_size",
        ),
        ({'train_dataloader.sampler.x': 2}, r"train_dataloader\.sampler: DefaultSampler takes no argument 'x'"),
        (
            {'train_cfg.max_epoch': 2},
            r"train_cfg: mmcnn\.ResumableTrainLoop takes no argument 'max_epoch'; did you mean max_ep",
        ),
        ({'val_cfg.x': 2}, r"val_cfg: ValLoop takes no argument 'x'"),
        (
            {'default_hooks.checkpoint.intervall': 2},
            "AtomicCheckpointHook takes no argument 'intervall'; did you mean interval",
        ),
        ({'custom_hooks.1.momentun': 2}, "StepEMAHook takes no argument 'momentun'; did you mean momentum"),
        (
            {'train_dataloader.dataset.pipeline.0.mosic_prob': 2},
            "MosaicAffine takes no argument 'mosic_prob'; .* mosaic_prob",
        ),
        ({'val_dataloader.dataset.ann': 2}, "CocoDataset takes no argument 'ann'; did you mean ann_file"),
        ({'val_evaluator.ann': 2}, "CocoMetric takes no argument 'ann'; did you mean ann_file"),
        ({'log_processor.windw': 2}, "LogProcessor takes no argument 'windw'; did you mean window_size"),
        (
            {'optim_wrapper.clip_grad.max_nrm': 2},
            "clipping by the norm takes no argument 'max_nrm'; did you mean max_norm",
        ),
        ({'optim_wrapper.accumulative_count': 2}, "OptimWrapper takes no argument 'accumulative_count'"),
        (
            {'param_scheduler': [dict(type='LinearLR', strt=2)]},
            r"param_scheduler\.0: LinearLR takes no argument 'strt'",
        ),
    ],
)
def test_an_argument_that_a_class_does_not_take_is_refused(options, words):
    with pytest.raises(UsageError, match=words):
        check_types(load_config(CONFIG, options, say=lambda note: None))


def test_arguments_that_are_passed_on_are_known():
    options = {
        'default_hooks.checkpoint.save_optimizer': False,
        'default_hooks.checkpoint.backend_args': None,
        'custom_hooks.1.begin_epoch': 1,
        'custom_hooks.1.priority': 49,
        'param_scheduler': [dict(type='LinearLR', start_factor=0.1, convert_to_iter_based=True, end=1)],
        'train_dataloader.drop_last': True,
        'train_dataloader.num_batch_per_epoch': 3,
        'optim_wrapper.clip_grad': dict(type='value', clip_value=1.0),
    }
    check_types(load_config(CONFIG, options))


def test_two_metrics_that_report_the_same_numbers_are_refused_before_a_validation():
    cfg = load_config(CONFIG)
    ours, mmdets = dict(type='mmcnn.CocoMetric', ann_file='a'), dict(type='CocoMetric', ann_file='a')
    cfg.val_evaluator = [ours, mmdets]
    with pytest.raises(UsageError, match=r'val_evaluator\.0 and val_evaluator\.1 both report coco/bbox: give one'):
        check_types(cfg)
    cfg.val_evaluator = [ours, mmdets | dict(prefix='second'), dict(type='VOCMetric')]
    check_types(cfg)
    cfg.val_evaluator = [ours, mmdets | dict(metric='proposal_fast')]
    check_types(cfg)


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
    with pytest.raises(UsageError, match=f'^{re.escape(f"{name}={value!r}")}: it must be a dict$'):
        load_config(CONFIG, options)
    check_structure(Config(dict(model=None, custom_hooks=[], val_evaluator=[dict(type='x')])))


@pytest.mark.parametrize('name', ['custom_hooks', 'val_evaluator', 'model.neck', 'train_dataloader.dataset.pipeline'])
def test_what_may_be_a_list_of_dicts(name):
    with pytest.raises(UsageError, match=rf'^{name}=1: it must be a dict or a list of dicts$'):
        load_config(CONFIG, {name: 1})
