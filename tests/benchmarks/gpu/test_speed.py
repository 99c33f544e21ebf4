import contextlib
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict

from mmcnn.benchmarks.gpu import speed
from mmcnn.benchmarks.gpu.measurement import Circumstances, Timer
from mmcnn.errors import UsageError

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
    speed._for_measuring(cfg, 'fp16', True, HERE)
    assert cfg.train_cfg == dict(type='mmcnn.MeasuredTrainLoop', max_epochs=7)
    assert cfg.val_cfg is cfg.test_dataloader is cfg.default_hooks.checkpoint is None
    assert set(cfg.default_hooks) == {'checkpoint', 'logger'}
    assert cfg.randomness == dict(seed=3, deterministic=True)
    assert cfg.optim_wrapper == dict(type='AmpOptimWrapper', dtype='float16', accumulative_counts=2)
    assert cfg.train_dataloader.dataset.cache_gb == 2.0
    assert [*map(tuple, cfg.train_dataloader.dataset.pipeline[0].scale)] == [(608, 608)] * 2
    cfg = config()
    speed._for_measuring(cfg, 'fp32', False, HERE)
    assert cfg.optim_wrapper == dict(type='OptimWrapper', accumulative_counts=2)


@pytest.fixture
def runs(monkeypatch):
    """What was asked for, of runs that take ``fits`` images at most."""
    asked, fits = [], [4]

    def complete_config(recipe, circumstances, folder, *, batch_size, options):
        return SimpleNamespace(batch_size=batch_size, options=options)

    class Runner:
        def __init__(self, cfg):
            self.cfg, self.model, self.train_loop = cfg, torch.nn.Conv2d(3, 4, 3), self

        from_cfg = classmethod(lambda cls, cfg: cls(cfg))

        def measure(self, timer, report, prepared, with_loader):
            asked.append((self.cfg.batch_size, self.cfg.options, with_loader))
            self.channels_last = self.model.weight.is_contiguous(memory_format=torch.channels_last)

        def train(self):
            asked[-1] += (self.channels_last,)
            if self.cfg.batch_size > fits[0]:
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
    assert [each[0] for each in runs.asked] == [16, 8, 4]
    assert (found['batch_size'], found['did_not_fit'], found['workers']) == (4, 8, 3)
    runs.fits[0] = 1
    with pytest.raises(torch.OutOfMemoryError):
        measured()
    assert [each[0] for each in runs.asked[3:]] == [16, 8, 4, 2]


def test_what_is_asked_for_comes_through(runs):
    measured(channels_last=True, on_device=True, with_loader=False)
    assert runs.asked[-1] == (4, {'train_dataloader.dataset.device_augmentation': True}, False, True)
    measured()
    assert runs.asked[-1] == (4, {}, True, False)


def test_mixed_precision_needs_a_gpu(runs):
    with pytest.raises(UsageError, match='precision=bf16: mixed precision needs a GPU'):
        measured(precision='bf16')
    assert runs.asked == []
