import contextlib
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict

from mmcnn.benchmarks.gpu import speed
from mmcnn.benchmarks.gpu.measurement import Circumstances, Timer

HERE = Circumstances(device='cpu', tiny=True, folder='', classes_folder='', workers=3, batch_size=16, cache_gb=2.0)


def config():
    return ConfigDict(
        train_cfg=dict(type='ResumableTrainLoop', max_epochs=7, val_interval=1),
        val_cfg={}, val_dataloader={}, val_evaluator={}, test_cfg={}, test_dataloader={}, test_evaluator={},
        default_hooks=dict(checkpoint=dict(type='x'), bn_statistics=dict(type='y'), logger=dict(type='z')),
        randomness=dict(seed=3),
        optim_wrapper=dict(type='OptimWrapper', accumulative_counts=2),
        train_dataloader=dict(
            dataset=dict(cache_gb=0.0, pipeline=[dict(type='RandomResize', scale=[(320, 320), (608, 608)])])
        ),
    )  # fmt: skip


def test_the_config_of_a_measurement():
    cfg = config()
    speed._for_measuring(cfg, HERE)
    assert cfg.train_cfg == dict(type='mmcnn.MeasuredTrainLoop', max_epochs=7)
    assert cfg.val_cfg is cfg.test_dataloader is cfg.default_hooks.checkpoint is None
    assert set(cfg.default_hooks) == {'checkpoint', 'logger'}
    assert cfg.randomness == dict(seed=3) and cfg.optim_wrapper == dict(type='OptimWrapper', accumulative_counts=2)
    assert cfg.train_dataloader.dataset.cache_gb == 2.0
    assert [*map(tuple, cfg.train_dataloader.dataset.pipeline[0].scale)] == [(608, 608)] * 2


class Part:
    compiled = False

    def compile(self):
        self.compiled = True


@pytest.fixture
def runs(monkeypatch):
    """The requests to stand-ins for runs, which take at most ``fits`` images."""
    asked, fits = [], [4]

    def complete_config(recipe, circumstances, folder, *, batch_size, options, amp, channels_last):
        asked.append(dict(batch_size=batch_size, amp=amp, channels_last=channels_last, **options))
        return SimpleNamespace(batch_size=batch_size, get=lambda name: None)

    class Runner:
        def __init__(self, cfg):
            self.batch_size, self.train_loop = cfg.batch_size, self
            self.model = SimpleNamespace(backbone=Part(), neck=None)

        from_cfg = classmethod(lambda cls, cfg: cls(cfg))

        def register_hook(self, hook):
            asked[-1]['hook'] = type(hook).__name__

        def measure(self, timer, report, prepared, with_loader):
            asked[-1]['with_loader'] = with_loader
            self.prepared = prepared

        def train(self):
            self.prepared(self.model)
            asked[-1]['compiled'] = self.model.backbone.compiled
            if self.batch_size > fits[0]:
                raise torch.OutOfMemoryError('too little')

    monkeypatch.setattr(speed, 'complete_config', complete_config)
    monkeypatch.setattr(speed, '_for_measuring', lambda *args: None)
    monkeypatch.setattr(speed, 'Runner', Runner)
    monkeypatch.setattr(speed, 'kept_process_state', contextlib.nullcontext)
    monkeypatch.setattr(speed, 'gc', SimpleNamespace(collect=lambda: None))
    return SimpleNamespace(asked=asked, fits=fits)


def measured(**arguments):
    found = {}
    speed.measure(HERE, Timer(1), lambda **values: found.update(values), recipe='yolov5_s', **arguments)
    return found


def test_a_batch_that_does_not_fit_is_halved(runs):
    found = measured()
    assert [each['batch_size'] for each in runs.asked] == [16, 8, 4]
    assert (found['batch_size'], found['did_not_fit'], found['workers']) == (4, 8, 3)
    runs.fits[0] = 1
    with pytest.raises(torch.OutOfMemoryError):
        measured()
    assert [each['batch_size'] for each in runs.asked[3:]] == [16, 8, 4, 2]


def test_what_is_asked_for_comes_through(runs):
    plain = {
        'batch_size': 4, 'amp': False, 'channels_last': False, 'randomness.deterministic': False,
        'hook': 'PerformanceHook', 'with_loader': True, 'compiled': False,
    }  # fmt: skip
    runs.fits[0] = 16
    measured()
    assert runs.asked[-1] == plain | dict(batch_size=16)
    measured(precision='bf16', channels_last=True, compiled=True)
    assert runs.asked[-1] == plain | dict(batch_size=16, amp='bf16', channels_last=True, compiled=True)
    measured(precision='fp16', on_device=True, deterministic=True, with_loader=False)
    others = {'train_dataloader.dataset.device_augmentation': True, 'randomness.deterministic': True}
    assert runs.asked[-1] == plain | others | dict(batch_size=16, amp='fp16', with_loader=False)
