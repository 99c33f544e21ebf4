import torch
from torch import nn

from mmcnn.benchmarks.gpu.traffic import TrafficCounter, work_of

CPU = torch.device('cpu')


def bytes_of(call):
    with TrafficCounter('cpu') as counter:
        call()
    return counter.num_bytes


def test_operators_read_and_write():
    a, b = torch.ones(10), torch.ones(10)
    assert bytes_of(lambda: a + b) == 3 * 40
    assert bytes_of(lambda: a.add_(b)) == 3 * 40
    assert bytes_of(lambda: torch._foreach_add_([a, b], 1.0)) == 4 * 40
    assert bytes_of(lambda: torch.cat([a, b])) == 4 * 40
    assert bytes_of(lambda: a.double()) == 40 + 80


def test_views_and_other_devices_move_nothing():
    a = torch.ones(2, 5)
    assert bytes_of(lambda: a.view(10)[3:].unsqueeze(0)) == 0
    with TrafficCounter('cuda') as counter:
        a + a
    assert counter.num_bytes == 0


def test_the_work_of_a_step():
    torch.manual_seed(0)
    layer, x = nn.Linear(1000, 500, bias=False), torch.ones(2000, 1000, requires_grad=True)
    forward = work_of(lambda: layer(x), CPU)
    assert forward['tflop_of_a_step'] == 0.002  # 2 x 2000 x 1000 x 500
    assert forward['traffic_gb_of_a_step'] == round(4 * (500 * 1000 + 2000 * 1000 + 2000 * 500) / 1e9, 4)
    both = work_of(lambda: layer(x).sum().backward(), CPU)
    assert both['tflop_of_a_step'] == 0.006 and both['traffic_gb_of_a_step'] > 3 * forward['traffic_gb_of_a_step']
