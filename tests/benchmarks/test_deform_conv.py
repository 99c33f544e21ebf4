import pytest
import torch

from mmcnn.benchmarks import deform_conv
from mmcnn.benchmarks.options import BenchmarkOptions


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


@pytest.mark.parametrize('there', [True, False])
def test_torchvision_is_the_peer_where_it_is(there, monkeypatch):
    shape, said = (1, 4, 5, 6), []
    found = deform_conv.sides(shape)
    found['torchvision'] = found['mmcnn']
    if not there:
        del found['torchvision']
    monkeypatch.setattr(deform_conv, 'sides', lambda: found)
    forward, backward = deform_conv.measure(BenchmarkOptions(runs=1), said.append)
    assert (forward.row, backward.row) == ('forward', 'backward')
    assert forward.best_peer == backward.best_peer == ('torchvision' if there else None)
    assert any('torchvision: not measured' in line for line in said) is not there
