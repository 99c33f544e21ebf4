"""Plots of a detector's data set: boxes per class, their sizes and shapes, and how many of them anchors match."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from mmcnn.console.layout import shortened
from mmcnn.plots.fonts import families
from mmcnn.plots.palette import PALETTE, as_hex
from mmcnn.plots.style import plain_log_ticks, saved_figure, tidy

if TYPE_CHECKING:
    from mmcnn.datasets.anchors import Anchors

COLOURS = {'train': as_hex(PALETTE[0]), 'val': as_hex(PALETTE[3])}
_MATCHED, _UNMATCHED = as_hex(PALETTE[2]), as_hex(PALETTE[7])
#: Number of classes with a bar; the rest are counted.
CLASSES = 30
_NAME = 24  # maximum width of a class name in columns
#: Number of boxes with a point.
POINTS = 20000
BINS = 24


def plot_data(
    cocos: dict[str, dict],
    sizes: dict[str, np.ndarray],
    img_size: int,
    path: str | Path,
    anchors: Anchors | None = None,
    reached: np.ndarray | None = None,
) -> None:
    """Save a PNG of four panels.

    Args:
        cocos: 'train' and 'val' -> valid COCO dict.
        sizes: for each, (N, 2): widths and heights of the boxes in pixels at the network's input.
        img_size: longer side of each image there.
        path: The PNG; its folder is created.
        anchors: for each level, in pixels at the network's input.
        reached: (N,) bool, whether an anchor can match each training box; None like ``anchors``: neither is drawn.
    """
    with saved_figure(path, 11, 8.5) as figure:
        (classes, scatter), (ratios, reach) = figure.subplots(2, 2)
        _draw_classes(classes, cocos)
        _draw_sizes(scatter, sizes, anchors, img_size)
        _draw_ratios(ratios, sizes)
        _draw_reach(reach, sizes['train'], reached)
        for axes in figure.axes:
            tidy(axes)


def _draw_classes(axes: Axes, cocos: dict[str, dict]) -> None:
    names = {category['id']: category['name'] for category in cocos['train']['categories']}
    counts = {
        split: Counter(box['category_id'] for box in coco['annotations'] if not box.get('iscrowd'))
        for split, coco in cocos.items()
    }
    shown = sorted(names, key=lambda number: -counts['train'][number])[:CLASSES]
    places = np.arange(len(shown))
    for i, (split, of) in enumerate(counts.items()):
        axes.barh(places + 0.4 * i, [of[number] for number in shown], 0.4, color=COLOURS[split], label=split)
    labels = [shortened(names[each], _NAME) for each in shown]
    fonts = families(labels)
    axes.set_yticks(places + 0.2 * (len(counts) - 1), labels, fontsize=8)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)  # a name may contain a $
        label.set_fontfamily(fonts)
    more = f', the {CLASSES} most frequent of {len(names)}' if len(names) > CLASSES else ''
    axes.set(title=f'boxes of each class{more}', xscale='symlog')
    axes.set_xlim(0)
    axes.xaxis.set_major_formatter('{x:g}')
    axes.invert_yaxis()


def _draw_sizes(axes: Axes, sizes: dict[str, np.ndarray], anchors: Anchors | None, img_size: int) -> None:
    for split, each in sizes.items():
        some = each[:: max(1, len(each) // POINTS)]
        axes.scatter(*some.T, s=3, alpha=0.4, color=COLOURS[split], linewidths=0, label=f'boxes, {split}')
    if anchors is not None:
        flat = np.array([anchor for level in anchors for anchor in level], dtype=float)
        axes.scatter(*flat.T, marker='x', color='black', label='anchors')
    axes.set(xscale='log', yscale='log', title=f'box sizes at a longer side of {img_size} px')
    axes.set(xlabel='width, px', ylabel='height, px')
    for axis in (axes.xaxis, axes.yaxis):
        plain_log_ticks(axis)
    legend = axes.legend(frameon=False, fontsize=8)
    for points in legend.legend_handles:  # those of the boxes are too small and pale to be distinguished
        points.set(alpha=1, sizes=[25])


def _draw_ratios(axes: Axes, sizes: dict[str, np.ndarray]) -> None:
    logs = {split: np.log2(each[:, 0] / each[:, 1]) for split, each in sizes.items() if len(each)}
    edges = _edges(np.concatenate([*logs.values(), [0.0]]))
    for split, each in logs.items():
        weights = np.full(len(each), 100 / len(each))
        axes.hist(each, edges, weights=weights, histtype='step', color=COLOURS[split], label=split)
    axes.xaxis.set_major_formatter(lambda log, _: f'{2**log:.3g}')
    axes.set(title='aspect ratios', xlabel='width / height', ylabel='% of the boxes')
    axes.legend(frameon=False, fontsize=8)


def _draw_reach(axes: Axes, sizes: np.ndarray, reached: np.ndarray | None) -> None:
    """Draw training boxes by size, with the part of each bar that an anchor can match."""
    sides = np.log2(np.sqrt(sizes.prod(1)))
    edges = _edges(sides)
    middles, width = (edges[:-1] + edges[1:]) / 2, edges[1] - edges[0]
    bins = np.clip(np.digitize(sides, edges) - 1, 0, len(middles) - 1)
    counts = np.bincount(bins, minlength=len(middles))
    title, colour = 'sizes of the training boxes', COLOURS['train'] if reached is None else _UNMATCHED
    axes.bar(middles, counts, width, color=colour, label='out of reach')
    if reached is not None:
        axes.set_ylim(0, 1.2 * counts.max())  # room for the legend
        counts = np.bincount(bins[reached], minlength=len(middles))
        axes.bar(middles, counts, width, color=_MATCHED, label='an anchor can match')
        title = f'best possible recall of the anchors: {reached.mean():.4f}'
        axes.legend(frameon=False, fontsize=8)
    axes.xaxis.set_major_formatter(lambda log, _: f'{2**log:.3g}')
    axes.set(title=title, xlabel='square root of the area, px', ylabel='boxes')


def _edges(values: Sequence[float]) -> np.ndarray:
    low, high = min(values), max(values)
    return np.linspace(low - 0.05, high + 0.05, BINS + 1)
