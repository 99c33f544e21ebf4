"""The table of all networks: parameters against the reference table, costs, levels; as text, Markdown or JSON.

Nothing here needs torch: the numbers are read from table.json, which ``make table`` writes with
:mod:`mmcnn.zoo.measure`. That module is the source of truth, and the tests compare the file with it.
"""

from __future__ import annotations

import dataclasses
import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcnn.console.layout import aligned

from .reference_table import REFERENCE

#: The numbers of all networks.
TABLE = Path(__file__).with_name('table.json')
GIGA, MEGA = 1e9, 1e6
#: Columns that the table can be sorted by; all except the name in descending order.
SORT_COLUMNS = ('name', 'size', 'total', 'trainable', 'multiply_adds', 'memory_access')
HEADER = (
    'Networks are counted with their top for 1000 classes; darknet53, cspdarknet53, cspdarknet53-focus and the '
    'pyramids are counted as backbones, as in the reference table. The total includes the running statistics of '
    'BatchNorm. Multiply-adds (a multiplication and its addition count as one) and memory accesses (elements of '
    'feature maps and kernels) are those of the convolutions and linear layers for one image of the input size.'
)
NOTES = (
    'Channels are those of the default levels; level i has stride 2^i.',
    "EfficientNet's totals include, as published, 7 values of Keras's input normalisation, which our networks do not "
    'have.',
    'resnet-fpn is counted without its pyramid (neck=None), as in the reference table.',
    'inception-resnet has the graph of Inception-v4: that is what the reference table counts under this name, and the '
    "same network is the row inceptionv4. The paper's Inception-ResNets are inception-resnet-v1 and -v2.",
)


@dataclass(frozen=True)
class Network:
    """A row of the table."""

    name: str
    family: str  # class of the backbone
    classifier: bool  # counted with its top for 1000 classes
    size: int  # side of the image, pixels
    total: int  # parameters and running statistics
    trainable: int
    exact: bool | None  # see is_exact
    multiply_adds: int  # see mmcnn.models.costs.Cost
    memory_access: int
    levels: tuple[int, ...]  # all that exist
    channels: tuple[int, ...]  # channels of its default levels
    strides: tuple[int, ...]


def load(path: Path = TABLE) -> list[Network]:
    """Return all networks with the stored numbers, by name."""
    return [_network(**row) for row in json.loads(path.read_text(encoding='utf-8'))]


def is_exact(name: str, total: int, trainable: int) -> bool | None:
    """Return whether both counts equal the reference table's; None: the network is not in that table."""
    reference = REFERENCE.get(name)
    return None if reference is None else (total, trainable) == (reference.total, reference.trainable)


def ordered(networks: Sequence[Network], column: str = 'name') -> list[Network]:
    """Sort networks by one of ``SORT_COLUMNS``."""
    by_name = sorted(networks, key=lambda network: natural(network.name))
    return by_name if column == 'name' else sorted(by_name, key=lambda network: -getattr(network, column))


def natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts resnet50 before resnet101."""
    return [(int(part), '') if part.isdigit() else (-1, part) for part in re.split(r'(\d+)', name)]


def verdict(networks: Sequence[Network], expected: Sequence[str] = tuple(REFERENCE)) -> tuple[bool, str]:
    """Return whether the ``expected`` reference rows all exist and are exact, and a sentence that says so."""
    exact = {network.name for network in networks if network.exact}
    off = [name for name in expected if name not in exact]
    line = f'{len(expected) - len(off)} of {len(expected)} reference rows exact'
    return not off, line + (f'; not: {", ".join(off)}' if off else '')


# --------------------------------------------------------------------------------------------------------------- forms


def as_text(networks: Sequence[Network]) -> str:
    """Return the whole table for a terminal."""
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
    """Return all numbers as JSON, a dict for each network."""
    return json.dumps([dataclasses.asdict(network) for network in networks], indent=1)


def as_markdown(networks: Sequence[Network]) -> str:
    """Return a compact table of the reference rows, with the others collapsed below it."""
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
    """Return a network's line of the Markdown table."""
    cells = (
        f'`{network.name}`', f'{network.size}', f'{network.total:,}', f'{network.trainable:,}', _mark(network),
        f'{network.multiply_adds / GIGA:.2f} G', f'{network.memory_access / MEGA:.1f} M', _range(network.levels),
        _list(network.channels),
    )  # fmt: skip
    return f'| {" | ".join(cells)} |'


def _network(levels: list[int], channels: list[int], strides: list[int], **numbers: Any) -> Network:
    exact = is_exact(numbers['name'], numbers['total'], numbers['trainable'])
    return Network(levels=tuple(levels), channels=tuple(channels), strides=tuple(strides), exact=exact, **numbers)


def _mark(network: Network) -> str:
    return {True: '✓', False: '✗', None: ''}[network.exact]


def _range(levels: Sequence[int]) -> str:
    return f'{levels[0]}-{levels[-1]}'


def _list(numbers: Sequence[int]) -> str:
    return ', '.join(map(str, numbers))
