import torch

from mmcnn.benchmarks import passes
from mmcnn.benchmarks.options import PassesOptions


def test_the_passes_are_of_the_detector_of_the_config(monkeypatch):
    seen = []
    monkeypatch.setattr(passes, 'use_device', seen.append)
    monkeypatch.setattr(torch.Tensor, 'backward', lambda self: seen.append(self.requires_grad and self.ndim))
    options = PassesOptions(
        config='yolov5_n', cfg_options={'model.widen_factor': 0.0625}, batch_size=1, img_size=64, runs=2
    )
    (found,) = passes.measure(options, print)
    assert seen == [0, 0, 0]  # one warm-up and two runs; use_device is not called
    assert (found.row, found.unit, found.best_peer) == ('yolov5_n', 's', None)
    assert len(found.figures['forward and backward']) == 2
