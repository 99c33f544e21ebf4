import pytest
import torch

from mmcnn.benchmarks import deform_conv


def test_every_side_computes_its_gradients():
    shape = (1, 4, 5, 6)
    sides = deform_conv.sides(shape)
    assert {'mmcnn', 'plain convolution'} <= set(sides)
    for forward, backward in sides.values():
        output = forward()
        assert output.shape == shape
        assert backward(output)[0].shape == shape
    if 'torchvision' in sides:
        torch.testing.assert_close(sides['torchvision'][0](), sides['mmcnn'][0]())


def test_the_fastest_counts(monkeypatch):
    clock = iter([0.0, 3.0, 10.0, 20.0, 22.0, 31.0])
    monkeypatch.setattr(deform_conv.time, 'process_time', lambda: next(clock))
    given = []
    seconds = deform_conv.measure((lambda: 'output', given.append), runs=2)
    assert (seconds, given) == (pytest.approx((2.0, 7.0)), ['output'] * 2)
    assert deform_conv.report('x', seconds) == 'x: 3 x 3 of 2 x 256 x 50 x 84: forward 2.000 s, backward 7.000 s'
