"""Stages of networks that papers give as tables of layers: one chain for each halving of the map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from mmcnn.models.layers import Chain, ChainTable, chain_channels, widen_chain

from .base import Backbone, Stage


def chain_stages(backbone: Backbone, tables: Iterable[ChainTable], **chain: object) -> Iterator[Stage]:
    """Yield a stage for each table; their strides are 2, 4, 8, ..., their names 'stem', 'stage2', 'stage3', ...

    Args:
        backbone: provides the number of image channels, the width multiplier, the normalisation and the activation.
        tables: layers at full width; each table starts with the layer that halves the map.
        **chain: further arguments of :class:`~mmcnn.models.layers.chain.Chain`.
    """
    chain = dict(norm_cfg=backbone.norm_cfg, act_cfg=backbone.arch.act, **chain)
    channels = backbone.in_channels
    for level, table in enumerate(tables, start=1):
        table = widen_chain(table, backbone.width)
        out = chain_channels(table, channels)
        name = 'stem' if level == 1 else f'stage{level}'
        yield Stage(name, out, 2**level, partial(Chain, channels, table, **chain))
        channels = out
