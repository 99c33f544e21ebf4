"""Costs against published numbers and sums worked out by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmcnn.models.costs import Cost, measure, parts_of
from mmcnn.zoo import cost_study
from mmcnn.zoo.measure import describe

#: Published multiply-adds in millions, of the network with its top: (lowest, highest) that round to the number.
PUBLISHED = {
    'resnet34': (3_600, 3_700),  # "3.6 billion", arXiv 1512.03385; our count includes 19 M of projections
    'resnet152': (11_250, 11_350),  # "11.3 billion", arXiv 1512.03385
    'vgg16': (15_300, 15_500),  # "15.3 billion", arXiv 1512.03385; without the 0.1 G of the fully connected layers
    'vgg19': (19_600, 19_700),  # "19.6 billion", arXiv 1512.03385
    'resnext50-32x4d': (4_150, 4_250),  # "4.2 billion", arXiv 1611.05431
    'mobilenet': (565, 573),  # "569", arXiv 1704.04861
    'mobilenetv2': (299.5, 301),  # "300M", arXiv 1801.04381
    'mobilenetv3-large': (215, 220),  # "219", arXiv 1905.02244
    'mobilenetv3-small': (55.5, 57.5),  # "56", arXiv 1905.02244
    'efficientnet-b0': (385, 395),  # "0.39B", arXiv 1905.11946
    'efficientnet-b7': (36_500, 38_500),  # "37B", arXiv 1905.11946
}
#: Multiply-adds in billions that torchvision documents ("GFLOPS") for the same networks, from another counter.
TORCHVISION = {
    'resnet18': 1.814, 'resnet34': 3.664, 'resnet50-tv': 4.089, 'resnet101-tv': 7.801, 'resnet152-tv': 11.514,
    'resnext50-32x4d': 4.230, 'resnext101-32x8d': 16.414, 'resnext101-64x4d': 15.460,
    'vgg11': 7.609, 'vgg13': 11.308, 'vgg16': 15.470, 'vgg19': 19.632,
    'densenet121-tv': 2.834, 'densenet169-tv': 3.360, 'densenet201-tv': 4.291,
    'inceptionv1-tv': 1.498, 'inceptionv3-tv': 5.713,
    'mobilenetv2-tv': 0.301, 'mobilenetv3-small-tv': 0.057, 'mobilenetv3-large-tv': 0.217,
    'efficientnet-b0-tv': 0.386, 'efficientnet-b4-tv': 4.394, 'efficientnet-b7-tv': 37.746,
}  # fmt: skip


def on_meta(build, *shape):
    with torch.device('meta'):
        return measure(build(), torch.empty(shape))


@pytest.mark.parametrize(
    ('build', 'shape', 'multiply_adds', 'memory_access'),
    [
        # 3x3 on 8 x 8: 8 * 8 * 9 * 4 * 6 products; maps of 8 * 8 * (4 + 6), a kernel of 9 * 4 * 6.
        (lambda: nn.Conv2d(4, 6, 3, padding=1), (1, 4, 8, 8), 13_824, 640 + 216),
        # Two groups halve the products and the kernel.
        (lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2), (1, 4, 8, 8), 6_912, 640 + 108),
        # With stride 2 the whole map is read and a quarter as many pixels are written.
        (lambda: nn.Conv2d(4, 6, 3, 2, padding=1), (1, 4, 8, 8), 3_456, 256 + 96 + 216),
        (lambda: nn.ConvTranspose2d(4, 6, 2, 2), (1, 4, 8, 8), 64 * 4 * 24, 256 + 1_536 + 96),
        (lambda: nn.Conv1d(4, 6, 3), (1, 4, 10), 8 * 72, 40 + 48 + 72),
        (lambda: nn.Linear(10, 20), (1, 10), 200, 230),
        (lambda: nn.Linear(10, 20, bias=False), (3, 7, 10), 4_200, 210 + 420 + 200),
        (lambda: nn.BatchNorm2d(4), (1, 4, 8, 8), 0, 0),
    ],
    ids=['3x3', 'groups', 'stride', 'transposed', '1d', 'linear', 'linear without bias', 'norm'],
)
def test_single_layers(build, shape, multiply_adds, memory_access):
    assert on_meta(build, *shape)[0] == Cost(multiply_adds, memory_access)
    assert measure(build(), torch.zeros(shape))[0] == Cost(multiply_adds, memory_access)  # the same on the CPU


class Functional(nn.Module):
    """Calls functions without a module."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(6, 4, 3, 3))

    def forward(self, x):
        x = F.conv2d(x, self.weight, padding=1)
        flat = x.flatten(2)
        return torch.einsum('ncp,ndp->ncd', flat, flat)


def test_functional_calls_count():
    # The 3x3 above, then 6 x 6 products over 64 pixels of two maps of 6 x 64.
    assert on_meta(Functional, 1, 4, 8, 8)[0] == Cost(13_824 + 36 * 64, 856 + 2 * 384 + 36)


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1, bias=False)
        self.branches = nn.ModuleList([nn.Conv2d(4, 2, 1, bias=False), nn.Sequential(nn.BatchNorm2d(4))])

    def forward(self, x):
        x = self.conv(self.conv(x))
        return self.branches[0](x) + F.conv2d(x, self.branches[0].weight)


def test_parts():
    cost, parts = on_meta(Parts, 1, 4, 8, 8)
    assert [(part.name, part.total, part.trainable) for part in parts] == [
        ('conv', 16, 16), ('branches.0', 8, 8), ('branches.1', 16, 8)
    ]  # fmt: skip
    twice, once, never = parts
    assert twice.cost == Cost(2 * 64 * 16, 2 * (512 + 16)) and twice.shapes == ((1, 4, 8, 8),)
    assert once.cost == Cost(64 * 8, 64 * 6 + 8)
    assert never.cost == Cost() and never.shapes == ()
    assert cost == twice.cost + once.cost + once.cost  # the functional call belongs to no part


def test_module_is_left_as_it_was():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4).eval(), nn.BatchNorm2d(4))
    state = [value.clone() for value in module.state_dict().values()]
    measure(module, torch.randn(1, 3, 1, 1))  # one value per channel, which a norm in training mode refuses
    assert [each.training for each in module] == [True, False, True]
    assert all(torch.equal(a, b) for a, b in zip(state, module.state_dict().values(), strict=True))
    assert not any(each._forward_hooks or each._forward_pre_hooks for _, each in parts_of(module))


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_multiply_adds(name):
    low, high = PUBLISHED[name]
    assert low * 1e6 <= describe(name).multiply_adds < high * 1e6


@pytest.mark.parametrize('name', TORCHVISION)
def test_same_multiply_adds_as_torchvision(name):
    assert round(describe(name).multiply_adds / 1e9, 3) == TORCHVISION[name]


def test_resnet34_costs_less_than_a_fifth_of_vgg19():
    """ResNet's paper has 3.6 against 19.6 G, which is 18 %."""
    vgg, resnet = cost_study.pair('vgg19', 'resnet34', 'whole')
    assert 0.18 <= resnet.multiply_adds / vgg.multiply_adds < 0.19


@pytest.mark.parametrize(
    ('plain', 'csp', 'most'),
    [('resnet50-tv', 'cspresnet50', 0.9), ('densenet121', 'cspdensenet121', 0.9), ('darknet53', 'cspdarknet53', 0.75)],
)
def test_csp_saves_multiply_adds(plain, csp, most):
    first, second = cost_study.pair(plain, csp, 'backbone')
    assert second.multiply_adds < most * first.multiply_adds


def test_a_1x1_convolution_is_cheapest_at_equal_channels():
    costs = {split: cost_study.pointwise(*split) for split in cost_study.SPLITS}
    assert len({cost.multiply_adds for cost in costs.values()}) == 1
    assert min(costs, key=lambda split: costs[split].memory_access) == (256, 256)
    # 56 * 56 * (256 + 256) for the maps and 256 * 256 for the kernel.
    assert costs[256, 256].memory_access == 1_605_632 + 65_536


def test_densenet40():
    """Huang et al., arXiv 1608.06993, Table 2: 1.0 M parameters; VoVNet's paper, section 3.2: 3.7 M accesses."""
    with torch.device('meta'):
        net = cost_study.SmallNet()
        assert net(torch.empty(1, 3, 32, 32)).shape == (1, 448, 8, 8)
    convolutions = sum(p.numel() for p in net.parameters())
    # By hand: stem 3 * 16 * 9; layers 12 * 9 * (984 + 2,712 + 4,440 inputs); transitions 160 * 160 and 304 * 304.
    assert convolutions == 432 + 108 * (984 + 2_712 + 4_440) + 160**2 + 304**2
    assert round(cost_study.small_net().memory_access / 1e6, 1) == 3.7


def test_one_shot_aggregation_accesses_less():
    """VoVNet's paper, section 3.2, has 2.5 M, between the two readings of what a block concatenates."""
    dense = cost_study.small_net().memory_access
    most, least = (cost_study.small_net(one_shot=with_input).memory_access for with_input in (True, False))
    assert least < 2.5e6 < most
    assert 0.25 < 1 - most / dense < 1 - least / dense < 0.4


def test_one_shot_blocks_replace_dense_ones():
    with torch.device('meta'):
        for one_shot in (None, True, False):
            parts = cost_study.SmallNet(one_shot=one_shot).parts
            shapes, x = [], torch.empty(1, 3, 32, 32)
            for part in parts:
                x = part(x)
                shapes.append(tuple(x.shape[1:]))
            assert shapes == [
                (16, 32, 32), (160, 32, 32), (160, 32, 32), (160, 16, 16), (304, 16, 16), (304, 16, 16), (304, 8, 8),
                (448, 8, 8),
            ]  # fmt: skip
