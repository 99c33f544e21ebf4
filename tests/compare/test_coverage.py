"""Coverage of the intervals on simulated tables of AP, and false claims about equal candidates."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import binom, t

from mmcnn.compare.calibration import calibrate
from mmcnn.compare.statistics import margins, quantile, residual_mean_square

IMAGES = 72


@dataclass(frozen=True)
class World:
    """A simulated AP as a sum of effects: candidate, seed, residual of the run, and the draw of the images."""

    name: str
    rest: float = 0.02  # standard deviation of a run's residual
    images: float = 0.02  # standard deviation of a candidate's AP between draws of the images
    together: float = 0.8  # correlation of that effect between candidates
    heavy: bool = False  # the residuals follow Student's t distribution with 3 degrees of freedom
    factors: str = 'equal'  # of each candidate's residuals

    def tables(self, k, n, number, seed):
        """Draw tables (N, k, n), estimates of the images' covariance (N, k, k) and true means (N, k)."""
        rng = np.random.default_rng(seed)
        factors = dict(
            equal=np.ones(k), one=np.array([3.0] + [1.0] * (k - 1)), spread=np.linspace(0.5, 1.5, k)
        )[self.factors]  # fmt: skip
        rest = rng.standard_t(3, (number, k, n)) / np.sqrt(3) if self.heavy else rng.standard_normal((number, k, n))
        truth = 0.4 + rng.uniform(-0.1, 0.1, (number, k))
        block = rng.normal(0, 0.02, (number, 1, n))
        root = np.linalg.cholesky((1 - self.together) * np.eye(k) + self.together) * self.images
        favour = rng.standard_normal((number, k)) @ root.T
        of_images = root @ rng.standard_normal((number, k, IMAGES - 1))
        covariance = of_images @ of_images.transpose(0, 2, 1) / (IMAGES - 1)
        rest = self.rest * factors[:, None] * rest
        return (truth + favour)[..., None] + block + rest, covariance, truth


WORLDS = [
    World('as usual'),
    World('without variance from images', images=0),
    World('images alone vary', rest=0.001),
    World('heavy tails', heavy=True),
    World('heavy tails, without variance from images', images=0, heavy=True),
    World('one candidate varies three times as much', factors='one'),
    World('the same, without variance from images', images=0, factors='one'),
    World('deviations 0.01 to 0.03', factors='spread'),
]


def wrong(tables, truth):
    """Return the error of each estimated difference: (N, P)."""
    first, second = np.triu_indices(tables.shape[1], 1)
    means = tables.mean(-1)
    return np.abs((means[:, first] - means[:, second]) - (truth[:, first] - truth[:, second]))


def measured(world, k, n, number, seed=0):
    """Return simultaneous coverage, coverage of one interval, family-wise error rate and mean half width.

    The intervals do not depend on the true means, so equal candidates are told apart exactly where an interval misses:
    the family-wise error rate is one minus the simultaneous coverage, and is computed from tables of equal candidates.
    """
    tables, covariance, truth = world.tables(k, n, number, seed)
    found = margins(tables, covariance if world.images else None, IMAGES)
    holds = wrong(tables, truth) <= found.half_width
    equal = tables - truth[..., None]
    under_null = margins(equal, covariance if world.images else None, IMAGES)
    claims = (np.abs(under_null.difference) > under_null.half_width).any(-1)
    return holds.all(-1).mean(), holds.mean(), claims.mean(), found.half_width.mean()


@pytest.mark.parametrize('n', [3, 5, 8])
@pytest.mark.parametrize('images', [0, 0.02])
def test_false_claims_are_within_the_bounds_of_five_of_a_hundred(n, images):
    """Counted over 400 tables of 12 candidates."""
    simultaneous, single, claims, _ = measured(World('', images=images), 12, n, 400)
    assert 400 * claims <= binom.ppf(0.999, 400, 0.05)
    assert 400 * simultaneous >= binom.ppf(0.001, 400, 0.95)
    assert simultaneous < 1  # infinite intervals would always cover
    assert single > simultaneous


@pytest.mark.parametrize('k', [2, 4])
def test_few_candidates(k):
    _, _, claims, _ = measured(World('', images=0), k, 3, 400)
    assert binom.ppf(0.001, 400, 0.03) <= 400 * claims <= binom.ppf(0.999, 400, 0.05)


def test_wrong_formulas_are_beyond_the_bounds():
    """Three kinds of intervals that are used in practice fail the bounds."""
    tables, covariance, truth = World('').tables(12, 3, 400, 0)
    bound = binom.ppf(0.999, 400, 0.05)
    first, second = np.triu_indices(12, 1)
    own = (tables[:, first] - tables[:, second]).std(-1, ddof=1)
    of_each_pair = t.ppf(0.975, 2) * own / np.sqrt(3)
    assert 400 * (wrong(tables, truth) > of_each_pair).any(-1).mean() > 2 * bound  # Student's t for each pair
    without_images = margins(tables).half_width
    assert 400 * (wrong(tables, truth) > without_images).any(-1).mean() > 1.5 * bound
    found = margins(tables, covariance, IMAGES)
    uncorrected = np.sqrt(found.variance_of_seeds + found.variance_of_images) * t.ppf(0.975, 22)
    assert 400 * (wrong(tables, truth) > uncorrected).any(-1).mean() > 2 * bound  # pooled, for one pair only


def test_a_noisy_candidate_is_not_judged_by_the_calm_of_others():
    """With the pooled variance alone, 15 of 100 tables had false claims if one candidate varies three times as much."""
    _, _, claims, _ = measured(World('', images=0, factors='one'), 12, 5, 400)
    assert 400 * claims <= binom.ppf(0.999, 400, 0.08)


@pytest.mark.campaign
def test_campaign(capsys):
    """Print the table of docs/comparison.md, with 10,000 simulated tables per line."""
    with capsys.disabled():
        print('\n| simulated AP | n | all intervals hold | one holds | false claims | mean half width |')
        print('|---|--:|--:|--:|--:|--:|')
        for world in WORLDS:
            for n in (3, 5, 8):
                simultaneous, single, claims, width = measured(world, 12, n, 10_000)
                print(f'| {world.name} | {n} | {simultaneous:.3f} | {single:.4f} | {claims:.3f} | {width:.3f} |')
                assert claims < 0.12


@pytest.mark.campaign
def test_campaign_of_other_intervals(capsys):
    """Print how often intervals without the rules of docs/comparison.md make false claims."""
    with capsys.disabled():
        for n in (3, 5, 8):
            tables, _, truth = World('', images=0, factors='one').tables(12, n, 10_000, 0)
            pooled = quantile(12, 11 * (n - 1)) * np.sqrt(residual_mean_square(tables) / n)[:, None]
            print(f'\npooled alone, one varies three times as much, n = {n}:', end=' ')
            print(f'{(wrong(tables, truth) > pooled).any(-1).mean():.3f}')
            tables, _, truth = World('', images=0).tables(12, n, 10_000, 0)
            pooled = quantile(12, 11 * (n - 1)) * np.sqrt(residual_mean_square(tables) / n)
            print(f'all vary alike: wider by {margins(tables).half_width.mean() / pooled.mean() - 1:.1%}')
        tables, covariance, truth = World('').tables(2, 3, 10_000, 0)
        found = margins(tables, covariance, IMAGES)
        v, w = found.variance_of_seeds, found.variance_of_images
        common = t.ppf(0.975, (v + w) ** 2 / (v**2 / 2 + w**2 / (IMAGES - 1))) * np.sqrt(v + w)
        for name, width in (('Satterthwaite', common), ('ours', found.half_width)):
            print(f'k = 2, n = 3, {name}: {(wrong(tables, truth) > width).mean():.3f}')


@pytest.mark.campaign
def test_campaign_of_calibration(capsys):
    """Run A/A tests on 60 sets of twelve normally distributed runs."""
    dozens = [np.random.default_rng(seed).normal(0.35, 0.015, 12) for seed in range(60)]
    claims = np.array([[each.false_claims for each in calibrate(runs).designs] for runs in dozens])
    with capsys.disabled():
        print(
            f'\nfalse claims of 1,000: mean {claims.mean(0)}, most {claims.max(0)}, beyond 68: {(claims > 68).sum(0)}'
        )
