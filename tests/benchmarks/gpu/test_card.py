import pytest
import torch

from mmcnn.benchmarks.gpu import card
from mmcnn.benchmarks.gpu.measurement import Circumstances, Timer

HERE = Circumstances(device='cpu', tiny=True, folder='', classes_folder='', workers=0)


def test_rates_follow_from_the_seconds(monkeypatch):
    calls = []

    def seconds_of(call, device):
        call()
        calls.append(device.type)
        return 0.5e-3

    monkeypatch.setattr(card, 'seconds_of', seconds_of)
    monkeypatch.setattr(card, 'TINY_SIDE', 100)
    monkeypatch.setattr(card, 'TINY_COPIED', 500_000)
    found = {}
    card.measure(HERE, Timer(1), lambda **values: found.update(values))
    # 2 x 100^3 operations in half a millisecond; 0.5 MB read and written.
    assert found == dict(fp32_tflops=0.004, bf16_tflops=0.004, fp16_tflops=0.004, copy_gb_per_second=2.0)
    assert calls == ['cpu'] * 4


def test_the_median_of_runs_after_one_that_warms_up(monkeypatch):
    seconds = iter([100.0, 3.0, 1.0, 9.0])  # duration of each run's calls
    now = [0.0]
    monkeypatch.setattr(card.time, 'perf_counter', lambda: now[0])

    def call():
        if not called:
            now[0] += next(seconds)
        called.append(None)
        if len(called) == 2:
            called.clear()

    called = []
    assert card.seconds_of(call, torch.device('cpu'), calls=2, runs=3) == pytest.approx(1.5)
