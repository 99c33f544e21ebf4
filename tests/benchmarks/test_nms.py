import pytest
import torch

from mmcnn.benchmarks import nms


def test_both_ways_keep_the_same_boxes():
    kept = [sorted(call().tolist()) for call in nms.sides().values()]
    assert kept[0] == kept[1]
    assert 0 < len(kept[0]) < 30_000


def test_runs_are_measured_one_by_one(monkeypatch):
    clock = iter([0.0, 0.5, 10.0, 10.125, 20.0, 20.25])
    monkeypatch.setattr(nms.time, 'perf_counter', lambda: next(clock))
    seconds, kept = nms.measure(lambda: torch.arange(7), runs=3)
    assert (seconds, kept) == (pytest.approx([0.5, 0.125, 0.25]), 7)
    assert nms.report('x', seconds, kept) == 'x: 30,000 boxes, 80 classes, 7 kept: median 0.250 s of 3'
