"""The conclusions of a comparison in words, and groups of indistinguishable candidates: never a bare ranking."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mmcnn.compare.statistics import Pair, rough_quantile

#: More seeds than this are not computed, since nobody trains them.
MOST_SEEDS = 100


def verdict(pair: Pair, num_candidates: int, num_images: int = 0, seconds: float | None = None) -> str:
    """Return the conclusion about a pair, in words.

    Args:
        pair: returned by :func:`~mmcnn.compare.statistics.compare_pairs`.
        num_candidates: number k of candidates in the analysis.
        num_images: number of images in val.
        seconds: time of one more seed: the sum over the candidates that are trained with it. A seed counts only when
            every candidate of the analysis has finished it.
    """
    if pair.low is None:
        return f'{pair.first} and {pair.second}: one seed cannot tell ({pair.difference:+.3f})'
    low = f'{pair.low:.3f}'
    if pair.distinguishable and not float(low):
        low = f'{pair.low:.1g}'  # above 0, as the claim says
    interval = f'({pair.difference:+.3f}, 95 % {low} to {pair.high:.3f})'
    if pair.distinguishable:
        return f'{pair.first} > {pair.second} {interval}'
    text = f'{pair.first} and {pair.second} are not distinguishable {interval}: '
    if pair.margin_of_images >= pair.difference:
        images = f'the {num_images} validation images leave ±{pair.margin_of_images:.3f}'
        return text + (f'more seeds will not help: {images}' if num_images else 'their mean AP is the same')
    more = more_seeds(pair, num_candidates)
    if more is None:
        return text + f'more than {MOST_SEEDS} more seeds'
    duration = '' if seconds is None else f', {_duration(more * seconds)}'
    return text + f'about {more} more seed{"s" if more > 1 else ""}{duration}'


def more_seeds(pair: Pair, num_candidates: int) -> int | None:
    """Return how many more seeds would make a pair distinguishable, with the same difference and variances.

    Even then the difference is detected only about half of the time, since further seeds may make it smaller or larger.
    None: more than :data:`MOST_SEEDS`, or no number would do.

    Args:
        pair: a pair with at least two seeds.
        num_candidates: number k of candidates in the analysis.
    """

    def told_apart(seeds: int) -> bool:
        variance = pair.variance_of_seeds * pair.seeds / seeds
        of_seeds = rough_quantile(num_candidates, (num_candidates - 1) * (seeds - 1)) * math.sqrt(variance / 2)
        return math.hypot(of_seeds, pair.margin_of_images) < pair.difference

    few, many = pair.seeds, pair.seeds + MOST_SEEDS
    if not told_apart(many):
        return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if told_apart(middle) else (middle, many)
    return many - pair.seeds


def groups(pairs: Sequence[Pair], means: Mapping[str, float]) -> list[tuple[str, ...]]:
    """Return the largest groups of candidates that no pair separates, as in a critical-difference diagram.

    A candidate may be in several; one that differs from all others is a group by itself.

    Args:
        pairs: pairs of all candidates.
        means: candidate -> mean AP.

    Returns:
        The groups, each and all in descending order of the mean.
    """
    import networkx  # takes half a second, and only this function needs it

    graph = networkx.Graph()
    graph.add_nodes_from(means)
    graph.add_edges_from((pair.first, pair.second) for pair in pairs if not pair.distinguishable)
    cliques = [tuple(sorted(each, key=lambda name: -means[name])) for each in networkx.find_cliques(graph)]
    return sorted(cliques, key=lambda names: [-means[name] for name in names])


def _duration(seconds: float) -> str:
    """Return a duration, rounded as an estimate."""
    minutes = seconds / 60
    if minutes < 1:
        return f'{max(round(seconds), 1)} s'
    if minutes < 90:
        return f'{round(minutes)} min'
    hours = minutes / 60
    return f'{hours:.1f} h' if hours < 10 else f'{round(hours)} h'
