"""A study of network costs: depth against width, 1x1 convolutions, dense against one-shot aggregation, CSP."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmcnn.models.costs import Cost, measure
from mmcnn.registry import BACKBONE_FAMILIES

from .measure import build, image_size
from .table import GIGA, MEGA

#: Pairs of networks to compare, (the first, the second, what to compare them on).
PAIRS = (
    ('vgg19', 'resnet34', 'whole'),
    ('resnet50-tv', 'cspresnet50', 'backbone'),
    ('densenet121', 'cspdensenet121', 'backbone'),
    ('darknet53', 'cspdarknet53', 'backbone'),
)
#: Inputs and outputs of a 1x1 convolution, their product always 256 x 256.
SPLITS = ((32, 2048), (64, 1024), (128, 512), (256, 256), (512, 128), (1024, 64), (2048, 32))


# ------------------------------------------------------------------------------------- dense and one-shot aggregation


class DenseBlock(nn.Module):
    """3x3 convolutions, each on everything before it: (N, C, H, W) to (N, C + depth * growth, H, W).

    DenseNet without bottlenecks (Huang et al., arXiv 1608.06993, section 3). Norms and activations need no
    multiply-adds and are omitted.
    """

    def __init__(self, channels: int, growth: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(channels + i * growth, growth, 3, padding=1, bias=False) for i in range(depth)
        )
        self.out_channels = channels + depth * growth

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C + depth * growth, H, W)."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], dim=1)
        return x


class OneShotBlock(nn.Module):
    """A chain of 3x3 convolutions, aggregated once by a 1x1: (N, C, H, W) to (N, out_channels, H, W).

    VoVNet's module (Lee et al., arXiv 1904.09730, section 3.2).

    Args:
        with_input: the input is aggregated, too.
    """

    def __init__(self, channels: int, width: int, depth: int, out_channels: int, with_input: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(width if i else channels, width, 3, padding=1, bias=False) for i in range(depth)
        )
        gathered = depth * width + (channels if with_input else 0)
        self.gather = nn.Conv2d(gathered, out_channels, 1, bias=False)
        self.out_channels, self.with_input = out_channels, with_input

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, out_channels, H, W)."""
        maps = [x]
        for layer in self.layers:
            maps.append(layer(maps[-1]))
        return self.gather(torch.cat(maps if self.with_input else maps[1:], dim=1))


class SmallNet(nn.Module):
    """DenseNet-40 for images of 32 pixels: stem, three blocks of 12 layers, transitions that keep the channels.

    Args:
        one_shot: replaces each dense block by a one-shot block of 5 layers of 43 channels with as many outputs (the
            paper's section 3.2). None: dense blocks; True, False: its ``with_input``, which the paper does not state.
    """

    def __init__(self, stem: int = 16, growth: int = 12, depth: int = 12, one_shot: bool | None = None) -> None:
        super().__init__()
        parts, channels = [nn.Conv2d(3, stem, 3, padding=1, bias=False)], stem
        for i in range(3):
            if i:
                parts += [nn.Conv2d(channels, channels, 1, bias=False), nn.AvgPool2d(2)]
            block = DenseBlock(channels, growth, depth)
            if one_shot is not None:
                block = OneShotBlock(channels, 43, 5, block.out_channels, one_shot)
            parts.append(block)
            channels = block.out_channels
        self.parts = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, 32, 32) to the final map."""
        return self.parts(x)


def small_net(one_shot: bool | None = None) -> Cost:
    """Return the cost of DenseNet-40 or of its one-shot form on an image of 32 pixels."""
    with torch.device('meta'):
        return measure(SmallNet(one_shot=one_shot), torch.empty(1, 3, 32, 32))[0]


# ------------------------------------------------------------------------------------------------- 1x1 and whole pairs


def pointwise(inputs: int, outputs: int, size: int = 56) -> Cost:
    """Return the cost of a 1x1 convolution on a map of size x size."""
    with torch.device('meta'):
        return measure(nn.Conv2d(inputs, outputs, 1, bias=False), torch.empty(1, inputs, size, size))[0]


def pair(first: str, second: str, what: str) -> tuple[Cost, Cost]:
    """Return the costs of two networks at the first one's image size, of the 'whole' or only the 'backbone'."""
    costs, size = [], image_size(first)
    for name in (first, second):
        network = build(name)
        part = network if what == 'whole' else getattr(network, 'backbone', network)
        costs.append(measure(part, torch.empty(1, 3, size, size, device='meta'))[0])
    return costs[0], costs[1]


def report() -> str:
    """Return the study in Markdown; pairs that are not in the zoo are listed and left out."""
    present = [each for each in PAIRS if {*each[:2]} <= BACKBONE_FAMILIES.keys()]
    absent = [f'{first} and {second}' for first, second, _ in PAIRS if {first, second} - BACKBONE_FAMILIES.keys()]
    blocks = []
    rows = []
    for first, second, what in present:
        a, b = pair(first, second, what)
        rows.append((
            f'`{first}`, `{second}`', what, f'{image_size(first)}', *_two(a, b, 'multiply_adds', GIGA, 'G'),
            *_two(a, b, 'memory_access', MEGA, 'M'),
        ))  # fmt: skip
    head = ('first, second', 'compared', 'input', 'multiply-adds', 'second / first', 'accesses', 'second / first')
    blocks.append('Whole networks\n\n' + _markdown(head, rows))
    if absent:
        blocks.append(f'Not in the zoo, so left out: {"; ".join(absent)}.')
    dense = small_net()
    rows = [
        (title, f'{cost.memory_access / MEGA:.2f} M', f'{cost.memory_access / dense.memory_access - 1:+.1%}',
         f'{cost.multiply_adds / MEGA:.0f} M')
        for title, cost in (
            ('DenseNet-40', dense),
            ('one-shot, its input gathered, too', small_net(one_shot=True)),
            ('one-shot, only its layers gathered', small_net(one_shot=False)),
        )
    ]  # fmt: skip
    blocks.append('Dense and one-shot aggregation\n\n' + _markdown(('', 'accesses', '', 'multiply-adds'), rows))
    rows = [
        (f'{inputs} to {outputs}', f'{cost.multiply_adds / MEGA:.1f} M', f'{cost.memory_access / MEGA:.2f} M')
        for inputs, outputs in SPLITS
        for cost in (pointwise(inputs, outputs),)
    ]
    blocks.append('1x1 convolution at 56 x 56\n\n' + _markdown(('channels', 'multiply-adds', 'accesses'), rows))
    return '\n\n'.join(blocks)


def _two(a: Cost, b: Cost, field: str, unit: float, letter: str) -> tuple[str, str]:
    first, second = getattr(a, field), getattr(b, field)
    return f'{first / unit:.2f} {letter}, {second / unit:.2f} {letter}', f'{second / first:.1%}'


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return '\n'.join(f'| {" | ".join(row)} |' for row in [head, ['---', *['--:'] * (len(head) - 1)], *rows])
