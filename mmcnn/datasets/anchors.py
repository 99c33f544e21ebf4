"""Anchors for a data set: the share of its boxes that given anchors match, and better fitting anchors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmcnn.errors import DataError

#: Anchors of each level, (width, height) in pixels at the network's input.
Anchors = Sequence[Sequence[tuple[float, float]]]


def box_sizes(annotations: dict, img_size: int) -> np.ndarray:
    """Return widths and heights (N, 2) of a COCO file's boxes in pixels, with each image's longer side at ``img_size``.

    Crowd boxes and boxes without area are skipped.
    """
    scales = {image['id']: img_size / max(image['width'], image['height']) for image in annotations['images']}
    sizes = [
        (w * scales[box['image_id']], h * scales[box['image_id']])
        for box in annotations['annotations']
        for w, h in [box['bbox'][2:]]
        if not box.get('iscrowd') and w > 0 and h > 0
    ]
    return np.array(sizes, dtype=float).reshape(-1, 2)


def best_possible_recall(sizes: np.ndarray, anchors: Anchors, ratio: float = 4.0) -> float:
    """Return the share of the boxes that at least one anchor can match: both sides within a factor of ``ratio``.

    Args:
        sizes: (N, 2) widths and heights, in pixels at the network's input.
        anchors: anchors of each level.
        ratio: ratio of the assigner (YOLOv5: 4).
    """
    return float(within_reach(sizes, anchors, ratio).mean()) if len(sizes) else 1.0


def within_reach(sizes: np.ndarray, anchors: Anchors, ratio: float = 4.0) -> np.ndarray:
    """Return (N,) bool, whether an anchor can match each box, with the arguments of :func:`best_possible_recall`."""
    return _closeness(sizes, _flat(anchors)) > 1 / ratio


def anchors_of(model: dict) -> Anchors | None:
    """Return the anchors in a detector's config, finest level first; None: it has no such anchors.

    They are read from ``bbox_head.anchors`` (:class:`~mmcnn.models.dense_heads.YOLOHead`) or
    ``bbox_head.anchor_generator.base_sizes`` (MMDetection's YOLOv3).
    """
    head = model.get('bbox_head') or {}
    anchors = head.get('anchors') or (head.get('anchor_generator') or {}).get('base_sizes')
    return sorted(anchors, key=lambda level: sum(w * h for w, h in level)) if anchors else None


def as_config(model: dict, anchors: Anchors) -> str:
    """Return anchors, finest level first, as the text that replaces those in a detector's config.

    Args:
        model: config of a detector whose anchors :func:`anchors_of` finds; its order of levels is kept.
        anchors: anchors of each level.
    """
    head = model['bbox_head']
    key, part = ('anchors', head) if head.get('anchors') else ('base_sizes', head['anchor_generator'])
    backwards = list(part[key]) != anchors_of(model)
    levels = [f'    {list(level)},' for level in (reversed(anchors) if backwards else anchors)]
    return '\n'.join([f'{key}=[', *levels, ']'])


def propose_anchors(
    sizes: np.ndarray, levels: int = 3, per_level: int = 3, ratio: float = 4.0, generations: int = 1000, seed: int = 0
) -> list[list[tuple[int, int]]]:
    """Return anchors fitted to boxes: k-means, then random mutations, which are kept if they fit better (as in YOLOv5).

    Fitness is the mean similarity (the smaller of the side ratios) of each box to its best anchor, 0 beyond ``ratio``.

    Args:
        sizes: (N, 2) widths and heights, in pixels at the network's input.
        levels: number of levels; the smallest anchors belong to the finest level.
        per_level: number of anchors per level.
        ratio: ratio of the assigner.
        generations: number of mutations to try.
        seed: seed of k-means and mutations.

    Raises:
        DataError: there are fewer different boxes than anchors.
    """
    count = levels * per_level
    if (different := len(np.unique(sizes, axis=0))) < count:
        raise DataError(
            f'{count} anchors need at least {count} boxes of different sizes, but the {len(sizes)} boxes have only '
            f'{different}'
        )
    rng = np.random.default_rng(seed)
    from scipy.cluster.vq import kmeans  # trainings that keep their anchors do not need SciPy

    centres = np.exp(kmeans(np.log(sizes), count, iter=30, rng=rng)[0])  # on logarithms, because ratios matter
    # k-means may drop a centre; a randomly drawn box replaces it.
    missing = count - len(centres)
    anchors = np.concatenate([centres, sizes[rng.choice(len(sizes), missing, replace=False)]])
    best = _fitness(sizes, anchors, ratio)
    for _ in range(generations):
        factors = np.where(rng.random(anchors.shape) < 0.9, 1 + rng.normal(0, 0.1, anchors.shape), 1).clip(0.3, 3.0)
        mutated = (anchors * factors).clip(min=2.0)
        if (fitness := _fitness(sizes, mutated, ratio)) > best:
            anchors, best = mutated, fitness
    anchors = anchors[anchors.prod(1).argsort()].round().astype(int)
    return [[(int(w), int(h)) for w, h in level] for level in anchors.reshape(levels, per_level, 2)]


def _flat(anchors: Anchors) -> np.ndarray:
    return np.array([anchor for level in anchors for anchor in level], dtype=float)


def _closeness(sizes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Return (N,), the smaller side ratio of each box to its best anchor, 0 to 1."""
    ratios = sizes[:, None] / anchors[None]
    return np.minimum(ratios, 1 / ratios).min(2).max(1)


def _fitness(sizes: np.ndarray, anchors: np.ndarray, ratio: float) -> float:
    closeness = _closeness(sizes, anchors)
    return float((closeness * (closeness > 1 / ratio)).mean())
