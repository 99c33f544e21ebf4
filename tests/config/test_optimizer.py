"""Changing the optimizer: arguments that only the old one takes are dropped with a note; unknown ones are refused."""

import pytest

from mmcnn.config.entries import merge_options
from mmcnn.config.load import load_config
from mmcnn.config.optimizer import drop_left_over, optimizer_types
from mmcnn.config.types import check_types
from mmcnn.errors import UsageError

CONFIG = 'yolov5_s'
OPTIMIZER = 'optim_wrapper.optimizer'


def trained_with(options, typed=None):
    """Return the optimizer wrapper with these options, and the notes."""
    said = []
    cfg = load_config(CONFIG)
    before = optimizer_types(cfg)
    merge_options(cfg, options, lambda note: None)
    drop_left_over(cfg, before, {*options, *(typed or ())}, said.append)
    check_types(cfg)
    return cfg.optim_wrapper, said


def test_what_only_sgd_takes_stays_behind():
    wrapper, said = trained_with({f'{OPTIMIZER}.type': 'AdamW', f'{OPTIMIZER}.lr': 1e-3})
    assert wrapper.optimizer == dict(type='AdamW', lr=1e-3, weight_decay=5e-4)
    assert said == [
        f'note: {OPTIMIZER}: dropped momentum=0.937, nesterov=True, which AdamW does not take; '
        'it uses lr=0.001, weight_decay=0.0005'
    ]


def test_a_rate_that_was_made_for_another_is_said():
    _, (line,) = trained_with({f'{OPTIMIZER}.type': 'AdamW'})
    assert line.endswith('it uses lr=0.01, weight_decay=0.0005, set for SGD')


def test_a_whole_new_optimizer_has_nothing_left_over():
    wrapper, said = trained_with({OPTIMIZER: dict(_delete_=True, type='AdamW', lr=1e-3)})
    assert wrapper.optimizer == dict(type='AdamW', lr=1e-3) and said == []


def test_a_config_file_inherits_what_sgd_took(tmp_path):
    from mmcnn.config.files import own_configs

    path = tmp_path / 'adam.py'
    path.write_text(f"_base_ = ['{own_configs()[CONFIG]}']\noptim_wrapper = dict(optimizer=dict(type='Adam'))\n")
    cfg, said = load_config(path), []
    drop_left_over(cfg, optimizer_types(cfg), (), said.append)
    assert cfg.optim_wrapper.optimizer == dict(type='Adam', lr=0.01, weight_decay=5e-4)
    assert said[0].startswith(f'note: {OPTIMIZER}: dropped momentum=0.937, nesterov=True, which Adam does not take')


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (
            {f'{OPTIMIZER}.type': 'AdamW', f'{OPTIMIZER}.momentum': 0.9},
            r"AdamW takes no argument 'momentum'; known: amsgrad",
        ),
        ({f'{OPTIMIZER}.betas': (0.9, 0.99)}, "SGD takes no argument 'betas'"),
        ({f'{OPTIMIZER}.lrr': 0.9}, "SGD takes no argument 'lrr'; did you mean lr?"),
    ],
)
def test_what_was_typed_is_not_dropped_but_refused(options, words):
    with pytest.raises(UsageError, match=words):
        trained_with(options)


def test_a_loss_scale_goes_with_mixed_precision():
    cfg, said = load_config(CONFIG), []
    cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
    before = optimizer_types(cfg)
    cfg.optim_wrapper.type = 'OptimWrapper'
    drop_left_over(cfg, before, {'optim_wrapper.type'}, said.append)
    assert said == ['note: optim_wrapper: dropped loss_scale=dynamic, which OptimWrapper does not take']
    assert cfg.optim_wrapper.constructor == 'mmcnn.YOLOOptimWrapperConstructor'
