"""A picture of a data set: boxes of each class, their sizes and shapes, and how many of them anchors can match."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from mmcnn.datasets.anchors import Anchors, best_possible_recall, box_sizes

COLOURS = {'train': '#1f77b4', 'val': '#d95f02'}
#: Classes that have a bar; the rest are counted.
CLASSES = 30
#: Boxes that have a point.
POINTS = 20000
BINS = 24


def plot_data(cocos: dict[str, dict], anchors: Anchors | None, img_size: int, path: str | Path) -> float | None:
    """Saves a PNG of four panels.

    Args:
        cocos: 'train' and 'val' -> COCO dict without faults.
        anchors: pixels at the network's input; None: no recall is drawn.
        img_size: of the longer side of each image there.
        path: of the PNG; its folder is made.

    Returns:
        The best possible recall of the training boxes; None without anchors.
    """
    sizes = {name: box_sizes(coco, img_size) for name, coco in cocos.items()}
    figure = Figure(figsize=(11, 8.5), dpi=100, layout='constrained')
    FigureCanvasAgg(figure)
    (classes, scatter), (ratios, reach) = figure.subplots(2, 2)
    _draw_classes(classes, cocos)
    _draw_sizes(scatter, sizes, anchors, img_size)
    _draw_ratios(ratios, sizes)
    recall = _draw_reach(reach, sizes['train'], anchors)
    for axes in (classes, scatter, ratios, reach):
        axes.grid(alpha=0.25)
        axes.spines[['top', 'right']].set_visible(False)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Glyph')  # names in scripts that the font lacks
        figure.savefig(path, format='png')
    return recall


def _draw_classes(axes: Axes, cocos: dict[str, dict]) -> None:
    names = {category['id']: category['name'] for category in cocos['train']['categories']}
    counts = {
        part: Counter(box['category_id'] for box in coco['annotations'] if not box.get('iscrowd'))
        for part, coco in cocos.items()
    }
    shown = sorted(names, key=lambda number: -counts['train'][number])[:CLASSES]
    places = np.arange(len(shown))
    for i, (part, of) in enumerate(counts.items()):
        axes.barh(places + 0.4 * i, [of[number] for number in shown], 0.4, color=COLOURS[part], label=part)
    axes.set_yticks(places + 0.2 * (len(counts) - 1), [names[number] for number in shown], fontsize=8)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)  # a name may hold a $
    more = f', the {CLASSES} most frequent of {len(names)}' if len(names) > CLASSES else ''
    axes.set(title=f'boxes of each class{more}', xscale='symlog')
    axes.set_xlim(0)
    axes.invert_yaxis()
    axes.legend(frameon=False, fontsize=8)


def _draw_sizes(axes: Axes, sizes: dict[str, np.ndarray], anchors: Anchors | None, img_size: int) -> None:
    for part, each in sizes.items():
        some = each[:: max(1, len(each) // POINTS)]
        axes.scatter(*some.T, s=3, alpha=0.4, color=COLOURS[part], linewidths=0, label=f'boxes, {part}')
    if anchors is not None:
        flat = np.array([anchor for level in anchors for anchor in level], dtype=float)
        axes.scatter(*flat.T, marker='x', color='black', label='anchors')
    axes.set(xscale='log', yscale='log', title=f'box sizes where the longer side is {img_size} px')
    axes.set(xlabel='width, px', ylabel='height, px')
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter('{x:g}')
        axis.set_minor_locator(NullLocator())
    axes.legend(frameon=False, fontsize=8, markerscale=1.5)


def _draw_ratios(axes: Axes, sizes: dict[str, np.ndarray]) -> None:
    logs = {part: np.log2(each[:, 0] / each[:, 1]) for part, each in sizes.items() if len(each)}
    edges = _edges(np.concatenate([*logs.values(), [0.0]]))
    for part, each in logs.items():
        weights = np.full(len(each), 100 / len(each))
        axes.hist(each, edges, weights=weights, histtype='step', color=COLOURS[part], label=part)
    axes.xaxis.set_major_formatter(lambda log, _: f'{2**log:.3g}')
    axes.set(title='aspect ratios', xlabel='width / height', ylabel='% of the boxes')


def _draw_reach(axes: Axes, sizes: np.ndarray, anchors: Anchors | None) -> float | None:
    """Training boxes by size, and of each bar the part that an anchor can match."""
    sides = np.log2(np.sqrt(sizes.prod(1)))
    edges = _edges(sides)
    middles, width = (edges[:-1] + edges[1:]) / 2, edges[1] - edges[0]
    bins = np.clip(np.digitize(sides, edges) - 1, 0, len(middles) - 1)
    counts = np.bincount(bins, minlength=len(middles))
    axes.bar(middles, counts, width, color='#c1272d', label='out of reach')
    recall = None
    title = 'sizes of the training boxes'
    if anchors is not None:
        reached = [best_possible_recall(sizes[bins == i], anchors) * count for i, count in enumerate(counts)]
        axes.bar(middles, reached, width, color='#2a9d4a', label='an anchor can match')
        recall = best_possible_recall(sizes, anchors)
        title = f'best possible recall of the anchors: {recall:.4f}'
        axes.legend(frameon=False, fontsize=8)
    axes.xaxis.set_major_formatter(lambda log, _: f'{2**log:.3g}')
    axes.set(title=title, xlabel='square root of the area, px', ylabel='boxes')
    return recall


def _edges(values: Sequence[float]) -> np.ndarray:
    low, high = min(values), max(values)
    return np.linspace(low - 0.05, high + 0.05, BINS + 1)
