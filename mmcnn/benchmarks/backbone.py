"""CPU seconds of classifiers, as a user folds them, beside timm's and torchvision's with the same parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from statistics import median

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse as fold_peer

from mmcnn.benchmarks.comparison import Comparison, Say, Side, compare
from mmcnn.benchmarks.options import BackboneOptions
from mmcnn.benchmarks.peers import peer
from mmcnn.interleaved import cpu_seconds, repeats
from mmcnn.models.classifiers import build_classifier
from mmcnn.models.fuse import fold, fuse

#: What ours is called in every comparison.
OURS = 'mmcnn.fuse'
#: CPU seconds of a figure, at least: short calls are repeated.
LEAST = 0.2


def measure(options: BackboneOptions, say: Say) -> list[Comparison]:
    """CPU seconds of a forward pass of each network and batch, on one thread.

    Peers are measured in both memory formats; with ``folded``, ours stands beside theirs with BatchNorm folded, with
    ``compiled`` both by PyTorch's compiler. All have the same images, and random weights of their own.

    Raises:
        UsageError: no classifier has such a name.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = [each for name in options.names for each in _of_network(name, options, say)]
    finally:
        torch.set_num_threads(threads)
    ratios = {each.row: each.ratio(OURS) for each in found if each.best_peer is not None}
    if ratios:
        above = [row for row, ratio in ratios.items() if (ratio.interval or (ratio.smallest,))[0] > 1]
        middle = median(ratio.median for ratio in ratios.values())
        say(f'{OURS} to the best peer: median {middle:.2f} of {len(ratios)}; above 1: {", ".join(above) or "none"}')
    return found


def _of_network(name: str, options: BackboneOptions, say: Say) -> Iterator[Comparison]:
    ours = build_classifier(name).eval()
    size = options.img_size or (299 if ours.image.size == 299 else 224)
    count = sum(parameter.numel() for parameter in ours.parameters())
    peers = {library: peer(library, name, count, say) for library in options.peers}
    peers = {library: model for library, model in peers.items() if model is not None}
    for batch in (1, 8) if options.batch_size is None else (options.batch_size,):
        images = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
        yield compare(f'{name}, batch {batch}', list(_sides(ours, peers, images, options, say)), options.runs)


def _sides(
    ours: nn.Module, peers: dict[str, nn.Module], images: Tensor, options: BackboneOptions, say: Say
) -> Iterator[Side]:
    last = torch.channels_last
    for library, model in peers.items():
        if options.folded:
            try:
                model = fold_peer(model)
            except Exception as error:  # of many kinds: torch.fx cannot follow every forward
                say(f'{library}: not folded, torch.fx fails ({(str(error).splitlines() or [type(error).__name__])[0]})')
        yield from _side(library, _ready(model, options), images, peer=True)
        other = copy.deepcopy(model).to(memory_format=last)
        yield from _side(f'{library}, channels last', _ready(other, options), images.to(memory_format=last), peer=True)
    if options.compiled:
        yield from _side(OURS, _ready(fold(ours).to(memory_format=last), options), images)
        return
    fused = fuse(ours)
    yield from _side(OURS, fused, images)
    yield from _side(f'{OURS}, bfloat16', copy.deepcopy(fused).bfloat16(), images.bfloat16())


def _ready(model: nn.Module, options: BackboneOptions) -> nn.Module:
    return torch.compile(model, dynamic=False, options={'freezing': True}) if options.compiled else model


def _side(name: str, model: Callable[[Tensor], object], images: Tensor, peer: bool = False) -> Iterator[Side]:
    @torch.no_grad()
    def call() -> object:
        return model(images)

    call()
    yield Side(name, cpu_seconds(call, repeats(call, LEAST)), peer)
