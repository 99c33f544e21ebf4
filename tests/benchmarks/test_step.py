import pytest

from mmcnn.benchmarks import step
from mmcnn.config.load import load_config
from mmcnn.config.model import wire_model


def test_the_first_step_only_warms_up(monkeypatch):
    cfg = load_config('yolov5_n', {'model.widen_factor': 0.0625})
    wire_model(cfg)
    clock = iter([0.0, 100.0, 200.0, 201.0, 300.0, 305.0, 400.0, 402.0])  # 100 s, then 1, 5 and 2
    monkeypatch.setattr(step.time, 'perf_counter', lambda: next(clock))
    assert step.measure(cfg, batch_size=1, img_size=64, steps=3) == pytest.approx(2)
