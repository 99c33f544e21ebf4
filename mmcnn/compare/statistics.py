"""Differences of candidates in AP: simultaneous intervals for all pairs, from seeds as blocks and from the images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.stats import permutation_test, studentized_range

from mmcnn.errors import UsageError

#: Probability that all intervals of an analysis hold at once.
CONFIDENCE = 0.95
#: With fewer seeds no result of a sign-flip test could be significant: the smallest p-value is 2 / 2**n.
SEEDS_OF_SIGN_FLIP = 6
#: Number of sign patterns up to which all are tried: 2**16; beyond, as many are drawn, with a fixed seed.
_PATTERNS = 1 << 16
#: Degrees of freedom at which quantiles are computed for plans; between them they are almost linear in 1 / df.
_NODES = np.array([*range(1, 11), 12, 15, 20, 30, 60, 120, np.inf])


@dataclass(frozen=True)
class Blocks:
    """The AP of every candidate with every seed, without gaps.

    Attributes:
        names: names of the k candidates.
        seeds: the n seeds that all of them have finished, ascending.
        table: (k, n) AP, 0 to 1.
        left_out: a sentence for each finished seed or candidate that is not in the table.
    """

    names: tuple[str, ...]
    seeds: tuple[int, ...]
    table: np.ndarray
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Margins:
    """Differences of all pairs of many tables and their certainty; the pairs are the last axis.

    Attributes:
        first, second: (P,) indices of a pair's candidates; first < second.
        difference: (..., P) difference of the candidates' mean AP, first - second.
        variance_of_seeds: (..., P) variance of the difference due to the seeds; NaN with one seed.
        variance_of_images: (..., P) variance of the difference due to the choice of val's images.
        of_seeds, of_images: (..., P) half width of the interval from each alone.
        half_width: (..., P) half width of the interval; infinite with one seed.
    """

    first: np.ndarray
    second: np.ndarray
    difference: np.ndarray
    variance_of_seeds: np.ndarray
    variance_of_images: np.ndarray
    of_seeds: np.ndarray
    of_images: np.ndarray
    half_width: np.ndarray


@dataclass(frozen=True)
class Pair:
    """The conclusion about two candidates.

    Attributes:
        first, second: names; the first has the higher mean AP.
        difference: mean paired difference of AP, first - second, 0 or more.
        low, high: the simultaneous interval; None with one seed, for which there is none.
        seeds: number of seeds of both.
        variance_of_seeds: variance of the difference due to the seeds; None with one seed.
        variance_of_images: variance due to the images; 0 if no images were resampled, see :func:`method`.
        margin_of_images: half width of the interval with infinitely many seeds.
        sign_flip_p: exact two-sided p-value of this pair alone; None with fewer than six seeds.
    """

    first: str
    second: str
    difference: float
    low: float | None
    high: float | None
    seeds: int
    variance_of_seeds: float | None
    variance_of_images: float
    margin_of_images: float
    sign_flip_p: float | None

    @property
    def distinguishable(self) -> bool:
        """Whether the interval is entirely above zero."""
        return self.low is not None and self.low > 0


def complete_blocks(scores: Mapping[str, Mapping[int, float | None]]) -> Blocks:
    """Return the candidates by the seeds that all of them have finished.

    Args:
        scores: candidate -> seed -> AP, 0 to 1; a failed run is absent, None or NaN.

    Returns:
        The candidates that have finished any seed; empty if these have no seed in common.
    """
    finished = {
        name: {seed: ap for seed, ap in runs.items() if ap is not None and np.isfinite(ap)}
        for name, runs in scores.items()
    }
    left_out = [f'{name} is left out: none of its runs finished.' for name, runs in finished.items() if not runs]
    finished = {name: runs for name, runs in finished.items() if runs}
    common = set.intersection(*map(set, finished.values())) if finished else set()
    if finished and not common:
        has = '; '.join(f'{name}: {", ".join(map(str, sorted(runs)))}' for name, runs in finished.items())
        return Blocks((), (), np.empty((0, 0)), (*left_out, f'No seed was finished by all candidates ({has}).'))
    for seed in sorted(set().union(*finished.values()) - common):
        missing = ', '.join(name for name, runs in finished.items() if seed not in runs)
        left_out.append(f'Seed {seed} is left out of the analysis: not finished by {missing}.')
    seeds = tuple(sorted(common))
    table = np.array([[runs[seed] for seed in seeds] for runs in finished.values()], float)
    return Blocks(tuple(finished), seeds, table.reshape(len(finished), len(seeds)), tuple(left_out))


def margins(tables: np.ndarray, covariance: np.ndarray | None = None, num_images: int = 0) -> Margins:
    """Return Tukey's simultaneous intervals for all pairs of candidates in randomised blocks, with images' variance.

    The seeds are blocks: what is common to all candidates of a seed cancels. The variance of a pair's mean difference
    is the larger of ``2 MS / n`` (MS: the residual mean square of all candidates, (k-1)(n-1) degrees of freedom) and
    that of the pair's own n differences, so that a candidate that varies more than the others is not judged by them.
    The studentised range (Tukey 1953; unequal variances: Kramer 1956) gives the margin of n seeds on these images; in
    the same way the images' variance gives their margin with any number of seeds. The two are independent and are added
    as the root of the sum of squares.

    Args:
        tables: (..., k, n) AP of at least two candidates.
        covariance: (..., k, k) of the candidates' mean AP between draws of the images; None: no uncertainty.
        num_images: number of images that it was estimated from; its degrees of freedom are one fewer.

    Raises:
        UsageError: the covariance does not match the table.
    """
    k, n = tables.shape[-2:]
    first, second = np.triu_indices(k, 1)
    means = tables.mean(-1)
    difference = means[..., first] - means[..., second]
    shape = difference.shape
    of_seeds, variance_of_seeds = np.full(shape, np.inf), np.full(shape, np.nan)
    if n > 1:
        freedom = (k - 1) * (n - 1)
        own = (tables[..., first, :] - tables[..., second, :]).var(-1, ddof=1)
        variance_of_seeds = np.maximum(2 * residual_mean_square(tables)[..., None], own) / n
        of_seeds = quantile(k, freedom) * np.sqrt(variance_of_seeds / 2)
    variance_of_images = np.zeros(shape)
    of_images = np.zeros(shape)
    if covariance is not None:
        if covariance.shape[-2:] != (k, k) or num_images < 2:
            raise UsageError(
                f'a covariance of shape {covariance.shape} from {num_images} images: {k} candidates need one of '
                f'{k} x {k} from at least two images'
            )
        spread = np.diagonal(covariance, axis1=-2, axis2=-1)
        paired = spread[..., first] + spread[..., second] - 2 * covariance[..., first, second]
        variance_of_images = np.broadcast_to(np.maximum(paired, 0), shape)
        of_images = quantile(k, num_images - 1) * np.sqrt(variance_of_images / 2)
    half_width = np.hypot(of_seeds, of_images)
    return Margins(
        first, second, difference, variance_of_seeds, variance_of_images, of_seeds, of_images, half_width
    )  # fmt: skip


def residual_mean_square(tables: np.ndarray) -> np.ndarray:
    """Return (...,): what neither candidate nor seed explains, over (k-1)(n-1) degrees of freedom.

    Args:
        tables: (..., k, n) AP of at least two candidates with at least two seeds.
    """
    k, n = tables.shape[-2:]
    rest = tables - tables.mean(-1, keepdims=True) - tables.mean(-2, keepdims=True)
    rest = rest + tables.mean((-2, -1), keepdims=True)
    return (rest**2).sum((-2, -1)) / ((k - 1) * (n - 1))


def compare_pairs(blocks: Blocks, covariance: np.ndarray | None = None, num_images: int = 0) -> list[Pair]:
    """Return all pairs, the largest difference first.

    Args:
        blocks: k candidates by n seeds.
        covariance: see :func:`margins`.
        num_images: see :func:`margins`.
    """
    if len(blocks.names) < 2:
        return []
    found = margins(blocks.table, covariance, num_images)
    n = len(blocks.seeds)
    pairs = []
    for place, (i, j) in enumerate(zip(found.first, found.second, strict=True)):
        difference, half = float(found.difference[place]), float(found.half_width[place])
        if difference < 0:
            i, j, difference = j, i, -difference
        pairs.append(
            Pair(
                first=blocks.names[i],
                second=blocks.names[j],
                difference=difference,
                low=difference - half if n > 1 else None,
                high=difference + half if n > 1 else None,
                seeds=n,
                variance_of_seeds=float(found.variance_of_seeds[place]) if n > 1 else None,
                variance_of_images=float(found.variance_of_images[place]),
                margin_of_images=float(found.of_images[place]),
                sign_flip_p=sign_flip(blocks.table[i] - blocks.table[j]) if n >= SEEDS_OF_SIGN_FLIP else None,
            )
        )
    return sorted(pairs, key=lambda pair: -pair.difference)


def sign_flip(differences: np.ndarray) -> float:
    """Return the two-sided p-value of the sign-flip test: each seed could as well have favoured the other candidate.

    Args:
        differences: (n,) differences of AP of a pair, one for each seed.
    """
    result = permutation_test(
        (differences,), np.mean, permutation_type='samples', vectorized=True,
        n_resamples=_PATTERNS, batch=1 << 12, rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(result.pvalue)


def method(blocks: Blocks, num_images: int = 0, resamples: int = 0, why: str = 'no detections were kept') -> list[str]:
    """Return how the intervals are made, one sentence each, for the reader of the comparison.

    Args:
        blocks: k candidates by n seeds.
        num_images: number of resampled images of val; 0: none.
        resamples: number of resamples of the images.
        why: why none was resampled, in words.
    """
    k, n = blocks.table.shape
    sentences = list(blocks.left_out)
    if k < 2:
        return [*sentences, 'There are no two candidates to compare.']
    if n < 2:
        sentences.append('One seed does not show the variance between seeds, so there are no intervals.')
    else:
        sentences.append(
            f'Seeds are blocks: each of the {k} candidates was trained with the same {n} seeds. The residual mean '
            f'square of all candidates has ({k} - 1) x ({n} - 1) = {(k - 1) * (n - 1)} degrees of freedom; a pair '
            'whose own differences vary more is judged by its own variance.'
        )
        sentences.append(
            f'The {k * (k - 1) // 2} intervals hold simultaneously with {100 * CONFIDENCE:.0f} % confidence '
            '(studentised range).'
        )
    if num_images:
        sentences.append(
            f'Variance of the images: {resamples:,} resamples of the {num_images} images of val, the same for every '
            'candidate and seed. The margins of seeds and images are added as the root of the sum of squares.'
        )
    else:
        sentences.append(f'The intervals apply only to these images of val, without the variance of images: {why}.')
    if n >= SEEDS_OF_SIGN_FLIP:
        how = 'all' if 2**n <= _PATTERNS else f'{_PATTERNS:,} random'
        sentences.append(
            f'The sign-flip test tries {how} 2^{n} sign patterns; its p-values are for one pair each, not corrected '
            'for the number of pairs.'
        )
    elif n > 1:
        sentences.append(
            f'There is no sign-flip test: {n} seeds have 2^{n} = {2**n} sign patterns, so no two-sided p-value is '
            f'below 2/{2**n} = {2 / 2**n:.4g}; at least {SEEDS_OF_SIGN_FLIP} seeds are needed for a p-value below 0.05.'
        )
    return sentences


@cache
def quantile(k: int, freedom: float) -> float:
    """Return the studentised range of k means that is exceeded with probability 1 - :data:`CONFIDENCE`."""
    return float(studentized_range.ppf(CONFIDENCE, k, freedom))


def rough_quantile(k: int, freedom: float) -> float:
    """Return :func:`quantile` within 1 %, without its 0.2 s for each number of degrees of freedom."""
    above = int(np.searchsorted(_NODES, freedom))
    if _NODES[above] == freedom:
        return quantile(k, freedom)
    places = 1 / _NODES[[above, above - 1]]
    return float(np.interp(1 / freedom, places, [quantile(k, float(_NODES[each])) for each in (above, above - 1)]))
