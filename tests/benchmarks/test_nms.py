import torch

from mmcnn.benchmarks import nms
from mmcnn.benchmarks.options import BenchmarkOptions


def test_both_ways_keep_the_same_boxes():
    kept = [sorted(call().tolist()) for call in nms.sides().values()]
    assert kept[0] == kept[1]
    assert 0 < len(kept[0]) < 30_000


def test_both_are_ours(monkeypatch):
    monkeypatch.setattr(nms, 'sides', lambda: {'a': lambda: torch.arange(7), 'b': lambda: torch.arange(7)})
    said = []
    (found,) = nms.measure(BenchmarkOptions(runs=2), said.append)
    assert said[0] == 'a: 7 of 30,000 boxes of 80 classes are kept'
    assert {name: len(values) for name, values in found.figures.items()} == {'a': 2, 'b': 2}
    assert found.best_peer is None
