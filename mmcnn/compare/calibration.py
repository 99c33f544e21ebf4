"""A/A test of the intervals: runs of one candidate, dealt to identical imaginary ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmcnn.compare.statistics import margins
from mmcnn.errors import UsageError

#: Candidates and seeds of the imaginary comparisons.
DESIGNS = ((4, 3), (2, 6))
#: Differences of AP that should be detected.
EFFECTS = (0.02, 0.05)
#: Number of tables, and how many may have a claim: a true 5 % exceeds it with a probability of 0.5 %.
RESAMPLINGS, ALLOWED = 1000, 68


@dataclass(frozen=True)
class DesignCalibration:
    """The result of one imaginary comparison.

    Attributes:
        candidates: number k of candidates.
        seeds: number n of seeds of each.
        false_claims: number of tables in which two candidates were distinguishable.
        power: difference of AP -> fraction of pairs with that difference that were distinguishable, in the right order.
        half_width: mean half width of an interval.
    """

    candidates: int
    seeds: int
    false_claims: int
    power: dict[float, float]
    half_width: float


@dataclass(frozen=True)
class Calibration:
    """The result of the A/A test, see :func:`calibrate`.

    Attributes:
        runs: number of runs that were dealt.
        resamplings: number of deals.
        allowed: number of tables with a claim that a true fraction of 5 % may give.
        with_images: whether the variance of the images was in the intervals.
        designs: one result for each form of comparison.
    """

    runs: int
    resamplings: int
    allowed: int
    with_images: bool
    designs: tuple[DesignCalibration, ...]

    @property
    def passed(self) -> bool:
        """Whether no form of comparison had more false claims than are allowed."""
        return all(each.false_claims <= self.allowed for each in self.designs)

    def sentences(self) -> list[str]:
        """Return the result in words, for each form of comparison."""
        images = '' if self.with_images else ', without the variance of images'
        found = []
        for each in self.designs:
            more = 'not more' if each.false_claims <= self.allowed else 'MORE'
            power = [
                f'A true difference of {effect:.3g} AP is detected in {share:.0%} of pairs.'
                for effect, share in each.power.items()
            ]
            found.append(
                f'{self.runs} runs of one candidate were dealt to {each.candidates} imaginary ones with {each.seeds} '
                f'seeds {self.resamplings:,} times{images}: a difference was claimed {each.false_claims} times, which '
                f'is {more} than the {self.allowed} that chance allows at a true 5 %. {" ".join(power)}'
            )
        return found


def calibrate(
    scores: Sequence[float],
    covariance: np.ndarray | None = None,
    num_images: int = 0,
    designs: Sequence[tuple[int, int]] = DESIGNS,
    effects: Sequence[float] = EFFECTS,
    resamplings: int = RESAMPLINGS,
    allowed: int = ALLOWED,
    seed: int = 0,
) -> Calibration:
    """Deal the runs of one candidate to k imaginary ones with n seeds, without replacement, repeatedly.

    These do not differ, so every claim is false. Then the AP of the first one is raised, to see which differences are
    detected. All tables contain the same few runs, so the result applies to these runs.

    Args:
        scores: (R,) AP of runs that differ only in their init seeds.
        covariance: (R, R) covariance of the runs' AP between draws of the images; None: without.
        num_images: number of images that it was estimated from.
        designs: (k, n), with k * n no more than R.
        effects: differences of AP to detect.
        resamplings: number of tables.
        allowed: allowed number of tables with a false claim.
        seed: seed of the deals.

    Raises:
        UsageError: there are fewer runs than a design needs, or one has no AP.
    """
    values = np.asarray(scores, float)
    if not np.isfinite(values).all():
        raise UsageError(f'the AP of {(~np.isfinite(values)).sum()} of {len(values)} runs is missing')
    results = []
    for k, n in designs:
        if k < 2 or n < 2 or k * n > len(values):
            raise UsageError(
                f'{len(values)} runs cannot be dealt to {k} candidates with {n} seeds: at least two candidates and '
                'seeds are needed, and a run for each'
            )
        rng = np.random.default_rng(seed)
        deals = np.stack([rng.permutation(len(values))[: k * n] for _ in range(resamplings)]).reshape(-1, k, n)
        of_candidates = None if covariance is None else _of_means(covariance, deals)
        found = margins(values[deals], of_candidates, num_images)
        claims = (np.abs(found.difference) > found.half_width).any(axis=1)
        # The intervals do not depend on the means: raising the first candidate only shifts its differences.
        told_apart = {effect: found.difference + effect > found.half_width for effect in effects}
        power = {effect: float(each[:, found.first == 0].mean()) for effect, each in told_apart.items()}
        results.append(DesignCalibration(k, n, int(claims.sum()), power, float(found.half_width.mean())))
    return Calibration(len(values), resamplings, allowed, covariance is not None, tuple(results))


def _of_means(covariance: np.ndarray, deals: np.ndarray) -> np.ndarray:
    """Return (N, k, k): the covariance of the mean AP of the runs (N, k, n) dealt to each imaginary candidate."""
    shares = (deals[..., None] == np.arange(len(covariance))).mean(axis=2)  # (N, k, R)
    return shares @ covariance @ shares.transpose(0, 2, 1)
