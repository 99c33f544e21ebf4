"""The table of all networks: parameters against the reference table, costs, levels; as text, Markdown or JSON."""

from __future__ import annotations

import dataclasses
import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import torch

import mmcnn
from mmcnn.registry import BACKBONE_FAMILIES

from .backbones import Backbone
from .classifiers import Classifier, build_classifier
from .costs import Part, measure
from .reference_table import REFERENCE

GIGA, MEGA = 1e9, 1e6
#: Columns that the table can be sorted by; all but the name largest first.
SORT_COLUMNS = ('name', 'size', 'total', 'trainable', 'multiply_adds', 'memory_access')
HEADER = (
    'Networks that classify with their top for 1000 classes, others as backbones. Total holds the running statistics '
    'of BatchNorm. Multiply-adds (one multiplication and its addition) and memory accesses (elements of maps and '
    'kernels) of the convolutions and linear layers, for one image of the input size.'
)
NOTES = (
    'Channels are those of the default levels; level i has stride 2^i.',
    "EfficientNet's totals hold, as published, 7 values of Keras's input normalisation, which are no part of ours.",
    'resnet-fpn is counted without its pyramid (neck=None), as in the reference table.',
)


@dataclass(frozen=True)
class Network:
    """A line of the table."""

    name: str
    family: str  # class of the backbone
    classifier: bool  # counted with its top for 1000 classes
    size: int  # side of the image, pixels
    total: int  # parameters and running statistics
    trainable: int
    exact: bool | None  # both counts equal the reference table's; None: not in that
    multiply_adds: int  # see mmcnn.models.costs.Cost
    memory_access: int
    levels: tuple[int, ...]  # all that there are
    channels: tuple[int, ...]  # of the levels that it gives by default
    strides: tuple[int, ...]


@dataclass(frozen=True)
class StageLine:
    """A part of one network, in order from the image on."""

    part: Part
    stride: int | None  # of its map; None: not one of the backbone's stages


def build(name: str) -> Classifier | Backbone:
    """A network in the form that the table means, on the meta device."""
    reference = REFERENCE.get(name)
    classifies = BACKBONE_FAMILIES[name].variants[name].top is not None if reference is None else reference.classifier
    with torch.device('meta'):
        if classifies:
            return build_classifier(name)
        return mmcnn.build_backbone(name, **(reference.arguments if reference else {}))


def image_size(name: str) -> int:
    """Side of the reference table's image, else of that of the published weights."""
    return REFERENCE[name].size if name in REFERENCE else BACKBONE_FAMILIES[name].variants[name].image.size


def describe(name: str, size: int | None = None) -> Network:
    """The table's line of a network.

    Args:
        name: one of :func:`mmcnn.list_backbones`.
        size: side of the image, pixels; None: :func:`image_size`.
    """
    size = size or image_size(name)
    network, reference = build(name), REFERENCE.get(name)
    total, trainable = mmcnn.count_parameters(network)
    total += reference.outside if reference else 0
    cost, _ = measure(network, torch.empty(1, 3, size, size, device='meta'))
    backbone = network.backbone if isinstance(network, Classifier) else network
    return Network(
        name=name,
        family=type(backbone).__name__,
        classifier=isinstance(network, Classifier),
        size=size,
        total=total,
        trainable=trainable,
        exact=(total, trainable) == (reference.total, reference.trainable) if reference else None,
        multiply_adds=cost.multiply_adds,
        memory_access=cost.memory_access,
        levels=backbone.levels,
        channels=backbone.out_channels,
        strides=backbone.out_strides,
    )


def stage_lines(name: str, size: int | None = None) -> list[StageLine]:
    """The parts of a network, the backbone's stages and then those of the top, and ``all`` of it as the last line."""
    size = size or image_size(name)
    network = build(name)
    images = torch.empty(1, 3, size, size, device='meta')
    backbone = network.backbone if isinstance(network, Classifier) else network
    strides = {stage.name: stage.stride for stage in backbone.stages()}
    _, parts = measure(backbone, images)
    if isinstance(network, Classifier):
        with torch.no_grad():
            _, top = measure(network.top, backbone(images)[-1])
        parts += [dataclasses.replace(part, name=f'top.{part.name}') for part in top]
    parts.append(Part('all', *mmcnn.count_parameters(network), measure(network, images)[0]))
    return [StageLine(part, strides.get(part.name)) for part in parts]


def ordered(networks: Sequence[Network], column: str = 'name') -> list[Network]:
    """Sorted by one of ``SORT_COLUMNS``."""
    by_name = sorted(networks, key=lambda network: natural(network.name))
    return by_name if column == 'name' else sorted(by_name, key=lambda network: -getattr(network, column))


def natural(name: str) -> list[tuple[int, str]]:
    """Sorting key in which resnet50 comes before resnet101."""
    return [(int(part), '') if part.isdigit() else (-1, part) for part in re.split(r'(\d+)', name)]


def verdict(networks: Sequence[Network], expected: Sequence[str] = tuple(REFERENCE)) -> tuple[bool, str]:
    """Whether the ``expected`` reference rows are all there and exact, and the sentence that says so."""
    exact = {network.name for network in networks if network.exact}
    off = [name for name in expected if name not in exact]
    line = f'{len(expected) - len(off)} of {len(expected)} reference rows exact'
    return not off, line + (f'; not: {", ".join(off)}' if off else '')


# --------------------------------------------------------------------------------------------------------------- forms


def as_text(networks: Sequence[Network]) -> str:
    """The whole table for a terminal."""
    head = ('network', 'input', 'total', 'trainable', '', 'M-adds G', 'access M', 'levels', 'channels', 'strides')
    rows = [
        (
            network.name, f'{network.size}', f'{network.total:,}', f'{network.trainable:,}', _mark(network),
            f'{network.multiply_adds / GIGA:.2f}', f'{network.memory_access / MEGA:.1f}', _range(network.levels),
            _list(network.channels), _list(network.strides),
        )
        for network in networks
    ]  # fmt: skip
    return '\n'.join([textwrap.fill(' '.join((HEADER, *NOTES)), 120), '', aligned(head, rows, left=(0, 4, 7, 8, 9))])


def as_json(networks: Sequence[Network]) -> str:
    """All numbers, a dict for each network."""
    return json.dumps([dataclasses.asdict(network) for network in networks], indent=1)


def as_markdown(networks: Sequence[Network]) -> str:
    """A compact table of the reference rows, the others folded away below it."""
    reference = [network for network in networks if network.exact is not None]
    others = [network for network in networks if network.exact is None]
    parts = [HEADER]
    if reference:
        _, line = verdict(networks, [network.name for network in reference])
        parts += [f'**{line}** (✓: total and trainable both equal the published ones).', _markdown_table(reference)]
    if others:
        title = f'{len(others)} more networks' if reference else f'{len(others)} networks'
        parts.append(f'<details><summary>{title}</summary>\n\n{_markdown_table(others)}\n\n</details>')
    return '\n\n'.join([*parts, ' '.join(NOTES)])


def _markdown_table(networks: Sequence[Network]) -> str:
    lines = [
        '| network | input | total | trainable | | multiply-adds | access | levels | channels |',
        '|---|--:|--:|--:|---|--:|--:|---|---|',
    ]
    return '\n'.join([*lines, *map(markdown_line, networks)])


def markdown_line(network: Network) -> str:
    """A network's line of the Markdown table."""
    cells = (
        f'`{network.name}`', f'{network.size}', f'{network.total:,}', f'{network.trainable:,}', _mark(network),
        f'{network.multiply_adds / GIGA:.2f} G', f'{network.memory_access / MEGA:.1f} M', _range(network.levels),
        _list(network.channels),
    )  # fmt: skip
    return f'| {" | ".join(cells)} |'


def stages_as_text(lines: Sequence[StageLine]) -> str:
    """The parts of one network for a terminal; those without a stride, weights and costs are left out."""
    head = ('part', 'level', 'stride', 'output', 'total', 'trainable', 'M-adds M', 'access M')
    rows = []
    for part, stride in ((line.part, line.stride) for line in lines):
        if stride or part.total or part.cost.multiply_adds:
            rows.append((
                part.name,
                f'{stride.bit_length() - 1}' if stride else '',
                f'{stride}' if stride else '',
                ', '.join(' x '.join(map(str, shape[1:])) for shape in part.shapes),
                f'{part.total:,}',
                f'{part.trainable:,}',
                f'{part.cost.multiply_adds / MEGA:,.1f}',
                f'{part.cost.memory_access / MEGA:,.2f}',
            ))  # fmt: skip
    return aligned(head, rows, left=(0, 3))


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Columns under their heads, numbers to the right and the columns ``left`` to the left."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = []
    for row in [head, *rows]:
        cells = zip(row, widths, strict=True)
        lines.append('  '.join(f'{cell:{"<" if i in left else ">"}{width}}' for i, (cell, width) in enumerate(cells)))
    return '\n'.join(line.rstrip() for line in lines)


def _mark(network: Network) -> str:
    return {True: '✓', False: '✗', None: ''}[network.exact]


def _range(levels: Sequence[int]) -> str:
    return f'{levels[0]}-{levels[-1]}'


def _list(numbers: Sequence[int]) -> str:
    return ', '.join(map(str, numbers))
