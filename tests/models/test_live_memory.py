import pytest
import torch
from torch import nn

import mmcnn
from mmcnn.models.live_memory import peak_bytes, training_peak

#: Bytes of a float32 map of 2 x 3 x 8 x 8.
MAP = 2 * 3 * 8 * 8 * 4


def test_freed_memory_does_not_count():
    x = torch.zeros(MAP // 4)

    def call():
        for _ in range(5):
            y = x + 1  # the next result exists before this one is freed
        return y

    assert peak_bytes(call, [x]) == 2 * MAP


def test_views_and_results_in_place_share_their_memory():
    x = torch.zeros(MAP // 4)
    assert peak_bytes(lambda: (x + 1).view(2, -1)[:, 1:].add_(1)) == MAP
    assert peak_bytes(lambda: x.add_(1), [x]) == 0
    assert peak_bytes(lambda: x.add_(1)) == MAP
    assert peak_bytes(lambda: (x + 1).split(100)) == MAP


def test_a_training_step_by_hand():
    # Backward needs both outputs of tanh. It computes the gradient of the second one's input, frees the second output,
    # and then computes that of the first one's: three maps at once. Sum, loss and their gradients are single numbers.
    peak = training_peak(lambda: nn.Sequential(Weighted(), nn.Tanh(), nn.Tanh()), 2, 8)
    assert 3 * MAP <= peak <= 3 * MAP + 16


class Weighted(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x * self.weight


@pytest.mark.parametrize('name', ['mobilenetv2-tv', 'densenet121-tv'])
def test_sizes_alone_say_what_real_tensors_do(name):
    small = dict(widen_factor=0.25, deepen_factor=0.33)
    network = mmcnn.build_backbone(name, **small).train()
    images = torch.randn(2, 3, 64, 64)
    real = peak_bytes(
        lambda: sum(each.sum() for each in network(images)).backward(),
        (*network.parameters(), *network.buffers(), images),
    )
    sizes = training_peak(lambda: mmcnn.build_backbone(name, **small), 2, 64)
    assert sizes == real


def test_checkpointing_lowers_the_peak():
    small = dict(widen_factor=0.25, deepen_factor=0.33)
    plain, saving = (
        training_peak(lambda saving=saving: mmcnn.build_backbone('densenet121-tv', with_cp=saving, **small), 16, 64)
        for saving in (False, True)
    )
    assert saving < 0.6 * plain
