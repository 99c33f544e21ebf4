"""Measurement of the table of networks: ``python -m mmcnn.zoo.measure`` rewrites table.json.

The networks themselves are the source of truth. The file repeats them, so that the table is printed without torch.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from mmcnn.models.backbones import Backbone
from mmcnn.models.classifiers import Classifier, build_classifier
from mmcnn.models.costs import Part, count_parameters, measure
from mmcnn.models.families import build_backbone, list_backbones
from mmcnn.registry import BACKBONE_FAMILIES

from .reference_table import REFERENCE
from .table import MEGA, TABLE, Network, aligned, is_exact, ordered


@dataclass(frozen=True)
class StageLine:
    """A part of one network, in order from the image on."""

    part: Part
    stride: int | None  # stride of its map; None: not one of the backbone's stages


def build(name: str) -> Classifier | Backbone:
    """Return a network on the meta device, in the form that the table counts."""
    reference = REFERENCE.get(name)
    classifies = BACKBONE_FAMILIES[name].variants[name].top is not None if reference is None else reference.classifier
    with torch.device('meta'):
        if classifies:
            return build_classifier(name)
        return build_backbone(name, **(reference.arguments if reference else {}))


def image_size(name: str) -> int:
    """Return the side of the reference table's image, else of that of the published weights, pixels."""
    return REFERENCE[name].size if name in REFERENCE else BACKBONE_FAMILIES[name].variants[name].image.size


def describe(name: str, size: int | None = None) -> Network:
    """Return a network's row of the table.

    Args:
        name: one of :func:`list_backbones`.
        size: side of the image, pixels; None: :func:`image_size`.
    """
    size = size or image_size(name)
    network, reference = build(name), REFERENCE.get(name)
    total, trainable = count_parameters(network)
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
        exact=is_exact(name, total, trainable),
        multiply_adds=cost.multiply_adds,
        memory_access=cost.memory_access,
        levels=backbone.levels,
        channels=backbone.out_channels,
        strides=backbone.out_strides,
    )


def stage_lines(name: str, size: int | None = None) -> list[StageLine]:
    """Return the parts of a network: the backbone's stages, those of the top, and ``all`` as the last line."""
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
    parts.append(Part('all', *count_parameters(network), measure(network, images)[0]))
    return [StageLine(part, strides.get(part.name)) for part in parts]


def stages_as_text(lines: Sequence[StageLine]) -> str:
    """Return the parts of one network for a terminal; those without a stride, weights and costs are left out."""
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


def write_table(networks: Sequence[Network], path: Path = TABLE) -> None:
    """Write the file for :func:`mmcnn.zoo.table.load`: a line for each network, so that diffs are readable.

    Whether a row is exact is not stored: ``load`` compares it with the reference table.
    """
    rows = [dataclasses.asdict(network) for network in ordered(networks)]
    lines = [json.dumps({key: value for key, value in row.items() if key != 'exact'}) for row in rows]
    path.write_text('[\n' + ',\n'.join(lines) + '\n]\n', encoding='utf-8')


if __name__ == '__main__':
    write_table([describe(each) for each in list_backbones()])
