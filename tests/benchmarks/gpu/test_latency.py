import dataclasses
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmcnn.benchmarks.gpu import latency
from mmcnn.benchmarks.gpu.measurement import Circumstances, Timer
from mmcnn.errors import UsageError

CPU = torch.device('cpu')
HERE = Circumstances(device='cpu', tiny=True, folder='', classes_folder='', workers=0)


class Model(nn.Module):
    def __init__(self, fails_at=99):
        super().__init__()
        self.weight, self.fails_at, self.modes = nn.Parameter(torch.zeros(1)), fails_at, []

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.modes.append((mode, len(inputs), torch.is_grad_enabled()))
        if len(inputs) >= self.fails_at:
            raise RuntimeError('out of memory\nand more')


def detector(model):
    prepare = lambda images: dict(inputs=torch.zeros(len(images), 3, *images[0].shape[:2]))  # noqa: E731
    return SimpleNamespace(model=model, prepare=prepare, batch=lambda images: model(images, mode='all'))


def measured(monkeypatch, model):
    monkeypatch.setattr(latency, '_detector', lambda *args: detector(model))
    monkeypatch.setattr(latency, '_median', lambda call, seconds, device: (call(), 0.004)[1])
    found = {}
    latency.measure(HERE, Timer(1), lambda **values: found.update(values), recipe='yolov4')
    return found


def test_each_batch_has_its_times(monkeypatch):
    model = Model()
    found = measured(monkeypatch, model)
    assert found == {
        f'fp32, batch {batch}': dict(
            network_ms=4.0, predict_ms=4.0, end_to_end_ms=4.0, images_per_second=250 * batch,
            input_shape=[batch, 3, 480, 640],
        )
        for batch in (1, 2)
    }  # fmt: skip
    assert model.modes == [(mode, batch, False) for batch in (1, 2) for mode in ('tensor', 'predict', 'all')]


def test_one_that_does_not_run_stops_no_other(monkeypatch):
    found = measured(monkeypatch, Model(fails_at=2))
    assert found['fp32, batch 2'] == dict(failed='out of memory')
    assert found['fp32, batch 1']['end_to_end_ms'] == 4.0


def test_each_precision_of_a_gpu_has_a_detector(monkeypatch):
    made, found = [], {}

    def make(circumstances, recipe, precision):
        made.append(precision)
        if precision == 'bf16':
            raise UsageError('amp=bf16: Tesla T4 does not support bfloat16; use fp16')
        return precision

    monkeypatch.setattr(latency, '_detector', make)
    monkeypatch.setattr(latency, '_times', lambda detector, images, seconds: (detector, len(images)))
    card = dataclasses.replace(HERE, device='cuda')
    latency.measure(card, Timer(1), lambda **values: found.update(values), recipe='yolov4')
    assert made == ['fp32', 'bf16', 'bf16', 'fp16']
    failed = dict(failed='amp=bf16: Tesla T4 does not support bfloat16; use fp16')
    assert found == {
        'fp32, batch 1': ('fp32', 1), 'fp32, batch 2': ('fp32', 2),
        'bf16, batch 1': failed, 'bf16, batch 2': failed,
        'fp16, batch 1': ('fp16', 1), 'fp16, batch 2': ('fp16', 2),
    }  # fmt: skip


def test_a_two_stage_detector_has_no_network_alone(monkeypatch):
    model = Model()
    model.roi_head = nn.Identity()
    assert 'network_ms' not in measured(monkeypatch, model)['fp32, batch 1']


def test_the_median_of_calls_after_those_that_warm_up(monkeypatch):
    seconds = [50.0] * latency.WARM_UP + [1.0, 2.0, 9.0, 4.0, 5.0] + [1.0] * latency.MOST
    now, calls = [0.0], []

    def call():
        now[0] += seconds[len(calls)]
        calls.append(None)

    monkeypatch.setattr(latency.time, 'perf_counter', lambda: now[0])
    assert latency._median(call, 0, CPU) == pytest.approx(4.0)  # the minimum number of calls, regardless of the seconds
    assert len(calls) == latency.WARM_UP + latency.LEAST
    calls.clear()
    latency._median(call, 1e6, CPU)
    assert len(calls) == latency.WARM_UP + latency.MOST
