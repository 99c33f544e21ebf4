"""Measures what each part of mmcnn.fuse is worth: a network without it, in turn with the fused one, on one thread.

This program is for developers of mmcnn and not installed with it; docs/performance.md has the results.

  OMP_NUM_THREADS=1 python tools/fuse_parts.py densenet121-tv efficientnet-b0-tv --runs 8
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from mmcnn.benchmarks.comparison import Side, compare, report
from mmcnn.benchmarks.options import NETWORKS
from mmcnn.cli.errors import friendly_errors
from mmcnn.interleaved import cpu_seconds, repeats
from mmcnn.models.classifiers import build_classifier
from mmcnn.models.fuse import fold, fuse
from mmcnn.models.layers import DenseBlock, NormAct, SqueezeExcite
from mmcnn.models.layers.conv import COPIED_IN_PLACE

#: The side that all others are compared with; minimum CPU seconds of a figure.
WHOLE, LEAST = 'mmcnn.fuse', 0.2


def variants(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield a classifier fused, and without each part that it has."""
    last = torch.channels_last
    yield WHOLE, fuse(model)
    yield 'compiled instead', fuse(model, compile=True)
    yield 'folded only', fold(model).to(memory_format=last)
    yield 'folded only, default layout', fold(model)
    yield 'not folded', copy.deepcopy(model).to(memory_format=last)
    activations = [each for each in model.modules() if hasattr(each, 'inplace') and not isinstance(each, nn.Dropout)]
    if activations:
        yield 'folded only, activations in place', _in_place(fold(model).to(memory_format=last), True)
        yield 'folded only, no activation in place', _in_place(fold(model).to(memory_format=last), False)
    for name, kind, forward in (
        ('maps of dense blocks concatenated', DenseBlock, _concatenating),
        ('scale and shift computed anew', NormAct, _computing_anew),
        ('BatchNorm as an operator', NormAct, _normalising),
        ('squeeze-excite not in place', SqueezeExcite, _separate),
    ):
        if any(type(each) is kind for each in model.modules()):
            fused = fuse(model)
            for each in fused.modules():
                if type(each) is kind:
                    forward(each)
            yield name, fused


def _in_place(model: nn.Module, value: bool) -> nn.Module:
    for each in model.modules():
        if hasattr(each, 'inplace') and isinstance(each, (nn.ReLU, nn.ReLU6, *COPIED_IN_PLACE)):
            each.inplace = value
    return model


def _concatenating(block: DenseBlock) -> None:
    def forward(x: Tensor) -> Tensor:
        maps = [x]
        for layer in block.values():
            maps.append(layer(torch.cat(maps, 1)))
        return torch.cat(maps, 1)

    block.forward = forward


def _computing_anew(unit: NormAct) -> None:
    unit.keeps_scale = False


def _normalising(unit: NormAct) -> None:
    unit.forward = lambda x: unit.act(unit.bn(x))


def _separate(module: SqueezeExcite) -> None:
    module.inplace = False


def sides(name: str, batch: int) -> Iterator[Side]:
    """Yield a side for each variant of a classifier, all with the same images."""
    model = build_classifier(name).eval()
    size = 299 if model.image.size == 299 else 224
    images = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
    for variant, network in variants(model):
        call: Callable[[], Tensor] = partial(_without_gradients, network, images)
        call()
        yield Side(variant, cpu_seconds(call, repeats(call, LEAST)), variant == WHOLE)


@torch.no_grad()
def _without_gradients(network: nn.Module, images: Tensor) -> Tensor:
    return network(images)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', metavar='NAME', nargs='*', default=NETWORKS, help='classifiers')
    parser.add_argument('--batch-size', type=int, default=1, metavar='N', help='images per batch (default: 1)')
    parser.add_argument('--runs', type=int, default=8, metavar='N', help='number of rounds (default: 8)')
    with friendly_errors():
        args = parser.parse_args()
        torch.set_num_threads(1)
        for name in args.names:
            torch.compiler.reset()
            print(report([compare(name, list(sides(name, args.batch_size)), args.runs)]), flush=True)


if __name__ == '__main__':
    main()
