"""The A/A test: false claims about made-up candidates are counted, and true differences are found."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from mmcnn.compare import calibration
from mmcnn.compare.calibration import ALLOWED, calibrate
from mmcnn.compare.statistics import margins
from mmcnn.errors import UsageError

SCORES = np.random.default_rng(7).normal(0.35, 0.015, 12)


def test_the_bound_is_that_of_five_of_a_hundred():
    assert binom.sf(ALLOWED, 1000, 0.05) == pytest.approx(0.005, abs=0.0005)


def test_normal_runs_pass_and_large_differences_are_found():
    found = calibrate(SCORES)
    assert [(each.candidates, each.seeds) for each in found.designs] == [(4, 3), (2, 6)]
    assert found.passed
    assert any(each.false_claims > 0 for each in found.designs)
    for each in found.designs:
        assert each.power[0.02] < each.power[0.05] <= 1
        assert each.power[0.05] > 0.5
    assert found == calibrate(SCORES)  # the deals have a fixed seed
    assert found != calibrate(SCORES, seed=1)


def test_claims_are_counted_over_all_deals(monkeypatch):
    """Four runs are dealt to two candidates with two seeds in 24 ways, whose claims are counted one by one."""
    monkeypatch.setattr('mmcnn.compare.statistics.quantile', lambda k, freedom: 1.5)
    runs = [0.1, 0.11, 0.2, 0.22]
    tables = [np.array(each).reshape(2, 2) for each in itertools.permutations(runs)]
    share = np.mean([abs(m.difference[0]) > m.half_width[0] for m in map(margins, tables)])
    assert 0 < share < 1
    found = calibrate(runs, designs=[(2, 2)], resamplings=4000)
    low, high = binom.ppf([0.0005, 0.9995], 4000, share)
    assert low <= found.designs[0].false_claims <= high


def test_intervals_that_are_too_narrow_fail(monkeypatch):
    real = calibration.margins

    def half_as_wide(*args):
        found = real(*args)
        found.half_width[...] /= 2
        return found

    monkeypatch.setattr(calibration, 'margins', half_as_wide)
    found = calibrate(SCORES)
    assert not found.passed
    assert any('MORE than the 68' in sentence for sentence in found.sentences())


def test_the_images_part_is_of_each_candidates_mean(monkeypatch):
    """By hand: the covariance of means is the mean of the runs' covariances."""
    rng = np.random.default_rng(0)
    half = rng.normal(size=(12, 12)) * 0.01
    covariance, seen = half @ half.T, []
    real = calibration.margins
    monkeypatch.setattr(calibration, 'margins', lambda *args: seen.append(args) or real(*args))
    with_images = calibrate(SCORES, covariance, 72, designs=[(4, 3)], resamplings=5)
    tables, of_means, num_images = seen[0]
    assert num_images == 72
    for table, found in zip(tables, of_means, strict=True):
        dealt = np.array([[np.flatnonzero(score == SCORES)[0] for score in row] for row in table])
        for i, j in itertools.product(range(4), repeat=2):
            assert found[i, j] == pytest.approx(covariance[np.ix_(dealt[i], dealt[j])].mean())
    without = calibrate(SCORES, designs=[(4, 3)], resamplings=5)
    assert with_images.designs[0].half_width > without.designs[0].half_width


def test_sentences():
    found = calibration.Calibration(
        12, 1000, 68, True, (calibration.DesignCalibration(4, 3, 41, {0.02: 0.254, 0.05: 0.98}, 0.03),)
    )
    assert found.sentences() == [
        '12 runs of one candidate were dealt to 4 imaginary ones with 3 seeds 1,000 times: a difference was '
        'claimed 41 times, which is not more than the 68 that chance allows at a true 5 %. A true difference '
        'of 0.02 AP is '
        'detected in 25% of pairs. A true difference of 0.05 AP is detected in 98% of pairs.'
    ]


def test_too_few_runs_are_refused():
    with pytest.raises(UsageError, match='11 runs cannot be dealt to 4 candidates with 3 seeds'):
        calibrate(SCORES[:11])
    with pytest.raises(UsageError, match='the AP of 1 of 12 runs is missing'):
        calibrate([*SCORES[:11], float('nan')])
