"""A/A test of the intervals: runs of one candidate, dealt out to made-up ones that differ in nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmcnn.compare.statistics import margins
from mmcnn.errors import UsageError

#: Candidates and seeds of the made-up comparisons.
DESIGNS = ((4, 3), (2, 6))
#: Differences of AP whose detection is tried.
EFFECTS = (0.02, 0.05)
#: Tables, and how many of them may have a claim: a true 5 % gives more with a probability of 0.5 %.
RESAMPLINGS, ALLOWED = 1000, 68


@dataclass(frozen=True)
class DesignCalibration:
    """What one made-up comparison found.

    Attributes:
        candidates: k of them.
        seeds: n of each.
        false_claims: tables in which two candidates were told apart.
        power: difference of AP -> share of pairs with that difference that were told apart, the right way round.
        half_width: mean half width of an interval.
    """

    candidates: int
    seeds: int
    false_claims: int
    power: dict[float, float]
    half_width: float


@dataclass(frozen=True)
class Calibration:
    """What the A/A test found, see :func:`calibrate`.

    Attributes:
        runs: how many were dealt out.
        resamplings: how often.
        allowed: tables with a claim that a true share of 5 % may give.
        with_images: the images' part was in the intervals.
        designs: one for each form of comparison.
    """

    runs: int
    resamplings: int
    allowed: int
    with_images: bool
    designs: tuple[DesignCalibration, ...]

    @property
    def passed(self) -> bool:
        """No form of comparison had more false claims than are allowed."""
        return all(each.false_claims <= self.allowed for each in self.designs)

    def sentences(self) -> list[str]:
        """What was found, in words, for each form of comparison."""
        images = '' if self.with_images else ', without the variance of images'
        found = []
        for each in self.designs:
            more = 'no more' if each.false_claims <= self.allowed else 'MORE'
            power = [
                f'A true difference of {effect:.3g} AP is told apart in {share:.0%} of pairs.'
                for effect, share in each.power.items()
            ]
            found.append(
                f'{self.runs} runs of one candidate were dealt out to {each.candidates} made-up ones with {each.seeds} '
                f'seeds {self.resamplings:,} times{images}: {each.false_claims} times a difference was claimed, which '
                f'is {more} than the {self.allowed} that chance allows a true 5 %. {" ".join(power)}'
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
    """Deals the runs of one candidate out to k made-up ones with n seeds, without replacement, again and again.

    These differ in nothing, so every claim is a false one. Then the AP of the first of them is raised, to see which
    differences are found. All tables hold the same few runs: what they say is of these runs.

    Args:
        scores: (R,) AP of runs that differ in their init seeds alone.
        covariance: (R, R) of the runs' AP between draws of the images; None: without.
        num_images: that it was estimated from.
        designs: (k, n), with k * n no more than R.
        effects: differences of AP to look for.
        resamplings: number of tables.
        allowed: tables with a false claim.
        seed: of the deals.

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
                f'{len(values)} runs cannot be dealt out to {k} candidates with {n} seeds: that takes two or more '
                'candidates and seeds, and a run for each'
            )
        rng = np.random.default_rng(seed)
        deals = np.stack([rng.permutation(len(values))[: k * n] for _ in range(resamplings)]).reshape(-1, k, n)
        of_candidates = None if covariance is None else _of_means(covariance, deals)
        found = margins(values[deals], of_candidates, num_images)
        claims = (np.abs(found.difference) > found.half_width).any(axis=1)
        # The intervals do not depend on the means: raising the first candidate shifts its differences, no more.
        told_apart = {effect: found.difference + effect > found.half_width for effect in effects}
        power = {effect: float(each[:, found.first == 0].mean()) for effect, each in told_apart.items()}
        results.append(DesignCalibration(k, n, int(claims.sum()), power, float(found.half_width.mean())))
    return Calibration(len(values), resamplings, allowed, covariance is not None, tuple(results))


def _of_means(covariance: np.ndarray, deals: np.ndarray) -> np.ndarray:
    """(N, k, k): of the mean AP of the runs (N, k, n) that each made-up candidate was dealt."""
    shares = (deals[..., None] == np.arange(len(covariance))).mean(axis=2)  # (N, k, R)
    return shares @ covariance @ shares.transpose(0, 2, 1)
