"""Trackers get metrics under names that they accept; the packages are replaced by stand-ins."""

import sys
from types import ModuleType

import pytest
from mmengine.config import Config
from mmengine.registry import VISBACKENDS
from mmengine.visualization import Visualizer

from mmcnn.engine.vis_backends import MLflowVisBackend, TrackioVisBackend
from mmcnn.errors import DependencyError

NUMBERS = {'loss': 1.5, 'lr': 0.1, 'coco/bbox_AR@1': 0.25, 'coco/bbox_AP/big "cat" (é)': 0.5, 'time': 0.01}


def stand_in(monkeypatch, name, *functions, **results):
    """Put a module into sys.modules that records its calls; return the record."""
    module, calls = ModuleType(name), []
    for function in functions:

        def call(*args, _name=function, **kwargs):
            calls.append((_name, args, kwargs))
            return results.get(_name)

        setattr(module, function, call)
    monkeypatch.setitem(sys.modules, name, module)
    return calls


def test_trackio(monkeypatch, tmp_path):
    calls = stand_in(monkeypatch, 'trackio', 'init', 'log', 'finish')
    backends = [dict(type='mmcnn.TrackioVisBackend', init_kwargs=dict(name='run'))]
    visualizer = Visualizer(vis_backends=backends, save_dir=str(tmp_path))
    assert calls == []
    visualizer.add_config(Config(dict(a=1)))
    visualizer.add_scalars(NUMBERS, step=3)
    visualizer.add_scalar('x', 2, step=4)
    visualizer.close()
    visualizer.close()
    assert [name for name, *_ in calls] == ['init', 'log', 'log', 'finish']
    assert calls[0][2] == dict(project='mmcnn', name='run', config=dict(config='a = 1\n'))
    renamed = {('iter_time' if name == 'time' else name): value for name, value in NUMBERS.items()}
    assert calls[1][1:] == ((renamed,), dict(step=3))
    assert calls[2][1:] == (({'x': 2.0},), dict(step=4))


def test_trackio_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, 'trackio', None)
    with pytest.raises(DependencyError, match='pip install trackio'):
        TrackioVisBackend().add_scalar('x', 1)


@pytest.fixture
def mlflow(monkeypatch):
    functions = ('set_tracking_uri', 'get_experiment_by_name', 'create_experiment', 'set_experiment', 'set_tag')
    functions += ('log_params', 'log_text', 'log_metrics', 'log_metric', 'log_artifact', 'end_run')
    monkeypatch.delenv('MLFLOW_TRACKING_URI', raising=False)
    return stand_in(monkeypatch, 'mlflow', *functions)


def test_mlflow_gets_names_that_it_takes(mlflow, tmp_path):
    backend = VISBACKENDS.build(dict(type='mmcnn.MLflowVisBackend', save_dir=str(tmp_path), run_name='run'))
    assert isinstance(backend, MLflowVisBackend)
    backend.add_scalars(NUMBERS | {'a@b': 1, 'a#b': 2, 'a_b': 3}, step=7)
    (numbers, step), _ = next((args, kwargs) for name, args, kwargs in mlflow if name == 'log_metrics')
    assert step == 7
    assert numbers == {
        'loss': 1.5, 'lr': 0.1, 'coco/bbox_AR_1': 0.25, 'coco/bbox_AP/big _cat_ _é_': 0.5, 'time': 0.01,
        'a_b_2': 1.0, 'a_b_3': 2.0, 'a_b': 3.0,
    }  # fmt: skip


@pytest.mark.parametrize('address', [None, 'http://127.0.0.1:5000'])
def test_mlflow_keeps_everything_with_the_run_unless_there_is_a_server(mlflow, monkeypatch, tmp_path, address):
    if address:
        monkeypatch.setenv('MLFLOW_TRACKING_URI', address)
    MLflowVisBackend(str(tmp_path)).add_scalar('x', 1)
    called = {name: (args, kwargs) for name, args, kwargs in mlflow}
    assert called['set_tracking_uri'][0] == (address or f'sqlite:///{tmp_path}/mlflow.db',)
    assert called['create_experiment'][1] == dict(
        artifact_location=None if address else f'file://{tmp_path}/mlartifacts'
    )


def test_an_mlflow_that_has_not_begun_is_closed_in_peace(mlflow, tmp_path):
    MLflowVisBackend(str(tmp_path)).close()
    assert mlflow == []
