import pytest
import torch
from torch import nn

from mmcnn.benchmarks.gpu.layers import InputsOf, differences

CPU = torch.device('cpu')


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)).double().eval()


def noted(network):
    with InputsOf(network) as found:
        network(torch.randn(2, 3, 8, 8, dtype=torch.float64))
    network(torch.randn(1, 3, 8, 8, dtype=torch.float64))  # is no longer recorded
    return found.inputs


def test_layers_with_weights_are_compared(network):
    inputs = noted(network)
    assert {name: tuple(x.shape) for name, x in inputs.items()} == {
        '0': (2, 3, 8, 8),
        '1': (2, 8, 6, 6),
        '3': (2, 8, 6, 6),
    }
    for half, least in ((None, 1e-9), (torch.bfloat16, 1e-4)):
        found = differences(network, inputs, CPU, half)
        assert found['layers'] == 3
        assert least < found['layer_error'] <= found['layer_bound']


@pytest.mark.parametrize('half', [None, torch.bfloat16])
def test_a_layer_that_computes_something_else_is_found(network, half, monkeypatch):
    inputs = noted(network)
    forward = nn.Conv2d.forward
    # Convolutions are 5 % off in float32, which stands for the device.
    monkeypatch.setattr(
        nn.Conv2d, 'forward', lambda self, x: forward(self, x) * (1.05 if x.dtype == torch.float32 else 1)
    )
    found = differences(network, inputs, CPU, half)
    assert found['layer_error'] > found['layer_bound']
    assert found['layer_worst'].split(',')[0] in ('0', '3')


def test_no_number_is_the_worst(network, monkeypatch):
    inputs = noted(network)
    forward = nn.BatchNorm2d.forward
    monkeypatch.setattr(
        nn.BatchNorm2d, 'forward', lambda self, x: forward(self, x) * (float('nan') if x.dtype == torch.float32 else 1)
    )
    found = differences(network, inputs, CPU, None)
    assert found['layer_worst'].startswith('1, ') and not found['layer_error'] <= found['layer_bound']
