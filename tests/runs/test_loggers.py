"""Choosing loggers with one option; missing packages are reported before the training needs them."""

import sys
from types import ModuleType

import pytest
from mmengine.config import Config

from mmcnn.errors import DependencyError, UsageError
from mmcnn.runs.loggers import PACKAGES, check_backends, set_loggers
from mmcnn.runs.options import LOGGERS, TrainOptions


@pytest.fixture
def cfg(monkeypatch):
    for name in ('WANDB_PROJECT', 'MLFLOW_EXPERIMENT_NAME'):
        monkeypatch.delenv(name, raising=False)
    backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend', name='mine')]
    visualizer = dict(type='DetLocalVisualizer', vis_backends=backends)
    return Config(dict(work_dir='work_dirs/run-3', default_scope='mmdet', visualizer=visualizer))


def types(cfg):
    return [node.type for node in cfg.visualizer.vis_backends]


def install(monkeypatch, *packages):
    for package in packages:
        monkeypatch.setitem(sys.modules, package, ModuleType(package))


def test_without_the_flag_the_config_stays(cfg):
    before = cfg.to_dict()
    set_loggers(cfg, None)
    assert cfg.to_dict() == before


@pytest.mark.parametrize(
    ('loggers', 'expected'),
    [
        (('none',), []),
        (('tensorboard',), ['TensorboardVisBackend']),
        (('wandb', 'tensorboard'), ['WandbVisBackend', 'TensorboardVisBackend']),
        (('mlflow', 'trackio'), ['mmcnn.MLflowVisBackend', 'mmcnn.TrackioVisBackend']),
    ],
)
def test_those_that_are_named_and_no_other(cfg, loggers, expected):
    set_loggers(cfg, loggers)
    assert types(cfg) == ['LocalVisBackend', *expected]
    assert cfg.visualizer.type == 'DetLocalVisualizer'


def test_an_entry_of_the_config_stays_as_it_is_and_new_ones_have_names(cfg, monkeypatch):
    set_loggers(cfg, ('tensorboard', 'wandb', 'trackio', 'mlflow'))
    _, tensorboard, wandb, trackio, mlflow = cfg.visualizer.vis_backends
    assert tensorboard.name == 'mine'
    assert wandb.init_kwargs == trackio.init_kwargs == dict(project='mmcnn', name='run-3')
    assert (mlflow.exp_name, mlflow.run_name) == ('mmcnn', 'run-3')
    monkeypatch.setenv('WANDB_PROJECT', 'theirs')
    monkeypatch.setenv('MLFLOW_EXPERIMENT_NAME', 'theirs')
    cfg.visualizer.vis_backends = []
    set_loggers(cfg, ('wandb', 'mlflow'))
    wandb, mlflow = cfg.visualizer.vis_backends
    assert wandb.init_kwargs == dict(name='run-3') and mlflow.exp_name == 'theirs'


@pytest.mark.parametrize('visualizer', [None, dict(type='Visualizer'), dict(type='Visualizer', vis_backends=None)])
def test_a_config_without_back_ends(visualizer):
    """For example, a classifier's config."""
    cfg = Config(dict(work_dir='x', visualizer=visualizer))
    set_loggers(cfg, ('tensorboard',))
    assert types(cfg) == ['TensorboardVisBackend'] and cfg.visualizer.type == 'Visualizer'


@pytest.mark.parametrize('name', PACKAGES)
@pytest.mark.parametrize('scope', ['', 'mmengine.'])
def test_what_is_not_installed_is_named_with_its_command(cfg, monkeypatch, name, scope):
    scope = 'mmcnn.' if name == 'TrackioVisBackend' else scope
    cfg.visualizer.vis_backends = [dict(type='LocalVisBackend'), dict(type=scope + name)]
    package = PACKAGES[name]
    monkeypatch.setitem(sys.modules, package, None)
    reason = rf'^visualizer.vis_backends.1: {name} needs the package {package}, which .*: pip install {package}, or'
    with pytest.raises(DependencyError, match=reason):
        check_backends(cfg, training=True)
    said = []
    check_backends(cfg, False, said.append)  # an evaluation of a run that was trained elsewhere
    assert types(cfg) == ['LocalVisBackend']
    assert len(said) == 1 and said[0].endswith('the evaluation continues without it')


def test_what_is_installed_is_taken(cfg, monkeypatch):
    install(monkeypatch, *PACKAGES.values())
    set_loggers(cfg, [name for name in LOGGERS if name != 'none'])
    before = types(cfg)
    check_backends(cfg, training=True)
    assert types(cfg) == before and len(before) == 5


def test_a_package_that_is_broken_says_why(cfg, tmp_path, monkeypatch):
    (tmp_path / 'wandb.py').write_text('import a_part_that_is_gone')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'wandb', raising=False)
    set_loggers(cfg, ('wandb',))
    with pytest.raises(
        DependencyError, match=r"wandb, which cannot be imported \(No module named 'a_part_that_is_gone'"
    ):
        check_backends(cfg, training=True)


def test_a_back_end_that_does_not_exist(cfg):
    cfg.visualizer.vis_backends[1].type = 'WandbVisBakend'
    with pytest.raises(UsageError, match=r'vis_backends\.1\.type=WandbVisBakend: no .* did you mean WandbVisBackend'):
        check_backends(cfg, training=True)
    cfg.visualizer.vis_backends[1].type = 'mmcnn.Trackio'
    with pytest.raises(UsageError, match=r'mmcnn\.Trackio.* did you mean mmcnn\.TrackioVisBackend'):
        check_backends(cfg, training=True)


@pytest.mark.parametrize(
    'given', ['wandb,mlflow', ['wandb', 'mlflow'], ['wandb, mlflow'], ('wandb', 'mlflow', 'wandb')]
)
def test_several_of_them(given):
    assert TrainOptions(config='x', logger=given).logger == ('wandb', 'mlflow')


def test_names_that_are_none():
    with pytest.raises(UsageError, match=r"^logger='wanb': did you mean wandb"):
        TrainOptions(config='x', logger='tensorboard,wanb')
    with pytest.raises(UsageError, match=r'^logger=none,wandb: none cannot be combined with others$'):
        TrainOptions(config='x', logger='none,wandb')
    assert TrainOptions(config='x', logger='none').logger == ('none',)
