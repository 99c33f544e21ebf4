"""Time and memory of our classifiers compared with timm's and torchvision's with the same parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from statistics import median

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse as fold_peer

from mmcnn.benchmarks.comparison import Comparison, Ratio, Say, Side, compare
from mmcnn.benchmarks.options import BackboneOptions
from mmcnn.benchmarks.peers import peer
from mmcnn.benchmarks.training_step import training_sides
from mmcnn.interleaved import cpu_seconds, repeats
from mmcnn.models.classifiers import build_classifier
from mmcnn.models.fuse import fold, fuse
from mmcnn.models.live_memory import training_peak

#: Names of ours: folded, also compiled; in training, also with checkpointed stages.
OURS, COMPILED, TRAINED, CHECKPOINTED = 'mmcnn.fuse', 'mmcnn.fuse(compile=True)', 'mmcnn', 'mmcnn with_cp=True'
#: Images in a training batch: with fewer, PyTorch uses other kernels for 1x1 convolutions on one thread.
TRAINING_BATCH = 16
#: Minimum CPU seconds of a figure: short calls are repeated.
LEAST = 0.2


def measure(options: BackboneOptions, say: Say) -> list[Comparison]:
    """Measure CPU seconds of each network and batch on one thread; or the maximum memory of a training step in MB.

    Peers are measured in both memory formats; with ``folded``, ours is compared with theirs with BatchNorm folded, with
    ``compiled`` both use PyTorch's compiler. All have the same images, and their own random weights.

    Raises:
        UsageError: there is no classifier with such a name.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = []
        for name in options.names:
            torch.compiler.reset()  # it gives up after eight modules whose ``forward`` is the same function
            try:
                found += _of_network(name, options, say)
            except RuntimeError as error:  # for example an unsupported size: continue with the others
                say(f'{name}: not measured ({(str(error).splitlines() or [type(error).__name__])[0]})')
    finally:
        torch.set_num_threads(threads)
    compared = [each for each in found if each.best_peer is not None]
    _sum_up('ours', {each.row: _best_of_ours(each) for each in compared}, say)
    _sum_up(COMPILED, {each.row: each.ratio(COMPILED) for each in compared if COMPILED in each.figures}, say)
    return found


def _sum_up(who: str, ratios: dict[str, Ratio], say: Say) -> None:
    if ratios:
        above = [row for row, ratio in ratios.items() if (ratio.interval or (ratio.smallest,))[0] > 1]
        middle = median(ratio.median for ratio in ratios.values())
        say(f'{who} to the best peer: median {middle:.2f} of {len(ratios)}; above 1: {", ".join(above) or "none"}')


def _best_of_ours(found: Comparison) -> Ratio:
    """Return our best in the same precision as the peers, neither compiled by ourselves alone nor with checkpoints."""
    others = (*found.peers, COMPILED, CHECKPOINTED)
    names = [each for each in found.figures if each not in others and not _is_half(each)]
    return min((found.ratio(name) for name in names), key=lambda ratio: ratio.median)


def _is_half(name: str) -> bool:
    return name.endswith(('bf16', 'bfloat16'))


def _of_network(name: str, options: BackboneOptions, say: Say) -> Iterator[Comparison]:
    ours = build_classifier(name).eval()
    size = options.img_size or (299 if ours.image.size == 299 else 224)
    count = sum(parameter.numel() for parameter in ours.parameters())
    peers = {library: peer(library, name, count, say) for library in options.peers}
    peers = {library: model for library, model in peers.items() if model is not None}
    if options.of != 'forward':
        batch = options.batch_size or TRAINING_BATCH
        of = _training if options.of == 'training' else _memory
        yield of(name, ours, peers, batch, size, options)
        return
    for batch in (1, 8) if options.batch_size is None else (options.batch_size,):
        images = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
        yield compare(f'{name}, batch {batch}', list(_sides(ours, peers, images, options, say)), options.runs)


def _training(
    name: str, ours: nn.Module, peers: dict[str, nn.Module], batch: int, size: int, options: BackboneOptions
) -> Comparison:
    sides = list(training_sides(TRAINED, ours, batch, size))
    for library, model in peers.items():
        sides += training_sides(library, model, batch, size, peer=True)
    return compare(f'{name}, batch {batch}', sides, options.runs)


def _memory(
    name: str, ours: nn.Module, peers: dict[str, nn.Module], batch: int, size: int, options: BackboneOptions
) -> Comparison:
    built = {
        TRAINED: lambda: build_classifier(name),
        CHECKPOINTED: lambda: build_classifier(name, with_cp=True),
        **{library: lambda model=model: copy.deepcopy(model).to('meta') for library, model in peers.items()},
    }
    figures = {side: [training_peak(build, batch, size) / 1e6] for side, build in built.items()}
    return Comparison(f'{name}, batch {batch}', 'MB', figures, frozenset(peers))


def _sides(
    ours: nn.Module, peers: dict[str, nn.Module], images: Tensor, options: BackboneOptions, say: Say
) -> Iterator[Side]:
    last = torch.channels_last
    for library, model in peers.items():
        if options.folded:
            try:
                model = fold_peer(model)
            except Exception as error:  # errors of many types: torch.fx cannot follow every forward
                say(f'{library}: not folded, torch.fx fails ({(str(error).splitlines() or [type(error).__name__])[0]})')
        yield from _side(library, _ready(model, options), images, peer=True)
        other = copy.deepcopy(model).to(memory_format=last)
        yield from _side(f'{library}, channels last', _ready(other, options), images.to(memory_format=last), peer=True)
    if options.compiled:
        yield from _side(OURS, _ready(fold(ours).to(memory_format=last), options), images)
        return
    fused = fuse(ours)
    yield from _side(OURS, fused, images)
    if options.compiled_fuse:
        yield from _side(COMPILED, fuse(ours, compile=True), images)
    yield from _side(f'{OURS}, bfloat16', copy.deepcopy(fused).bfloat16(), images.bfloat16())


def _ready(model: nn.Module, options: BackboneOptions) -> nn.Module:
    return torch.compile(model, dynamic=False, options={'freezing': True}) if options.compiled else model


def _side(name: str, model: Callable[[Tensor], object], images: Tensor, peer: bool = False) -> Iterator[Side]:
    @torch.no_grad()
    def call() -> object:
        return model(images)

    call()
    yield Side(name, cpu_seconds(call, repeats(call, LEAST)), peer)
