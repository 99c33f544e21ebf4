"""Stages of the networks whose figures are tables of layers: one chain for each halving of the map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from mmcnn.models.layers import Chain, ChainTable, chain_channels, widen_chain

from .base import Backbone, Stage


def chain_stages(backbone: Backbone, tables: Iterable[ChainTable], **chain: object) -> Iterator[Stage]:
    """A stage for each table, of strides 2, 4, 8 ...: 'stem', 'stage2', 'stage3' ...

    Args:
        backbone: gives the image's channels, the width multiplier, the normalisation and the activation.
        tables: at full width; each opens with the layer that halves the map.
        chain: further arguments of :class:`~mmcnn.models.layers.chain.Chain`.
    """
    chain = dict(norm_cfg=backbone.norm_cfg, act_cfg=backbone.arch.act, **chain)
    channels = backbone.in_channels
    for level, table in enumerate(tables, start=1):
        table = widen_chain(table, backbone.width)
        out = chain_channels(table, channels)
        name = 'stem' if level == 1 else f'stage{level}'
        yield Stage(name, out, 2**level, partial(Chain, channels, table, **chain))
        channels = out
