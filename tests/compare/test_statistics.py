"""Simultaneous intervals, compared with a textbook example, scipy's Student and Tukey tests, and simulation."""

import itertools

import numpy as np
import pytest
from scipy.stats import ttest_rel, tukey_hsd

from mmcnn.compare.statistics import (
    Blocks,
    compare_pairs,
    complete_blocks,
    margins,
    method,
    quantile,
    residual_mean_square,
    rough_quantile,
    sign_flip,
)
from mmcnn.errors import UsageError

#: Montgomery, Design and Analysis of Experiments, 8th ed., example 4.1: yield of vascular grafts, four extrusion
#: pressures (rows) on six batches of resin (columns).
GRAFTS = np.array(
    [
        [90.3, 89.2, 98.2, 93.9, 87.4, 97.9],
        [92.5, 89.5, 90.6, 94.7, 87.0, 95.8],
        [85.5, 90.8, 89.6, 86.2, 88.0, 93.4],
        [82.5, 89.5, 85.6, 87.4, 78.9, 90.7],
    ]
)


def blocks(table, names='abcdefghijkl'):
    return Blocks(tuple(names[: len(table)]), tuple(range(np.shape(table)[1])), np.asarray(table, float))


def test_residuals_of_a_textbook():
    assert residual_mean_square(GRAFTS) == pytest.approx(7.33, abs=0.005)


def test_intervals_of_a_textbook():
    """Tables give q(0.05; 4, 15) = 4.08, so pairs more than 4.08 * sqrt(7.33 / 6) apart differ."""
    found = margins(GRAFTS)
    own = np.array([np.var(GRAFTS[i] - GRAFTS[j], ddof=1) for i, j in itertools.combinations(range(4), 2)])
    pooled = own <= 2 * 7.33
    assert 0 < pooled.sum() < 6
    np.testing.assert_allclose(found.half_width[pooled], 4.08 * np.sqrt(7.33 / 6), rtol=2e-3)
    np.testing.assert_allclose(found.half_width[~pooled], 4.08 * np.sqrt(own[~pooled] / 2 / 6), rtol=2e-3)
    pairs = compare_pairs(blocks(GRAFTS))
    assert (pairs[0].first, pairs[0].second) == ('a', 'd')
    assert pairs[0].difference == pytest.approx(92.82 - 85.77, abs=0.01)
    assert [(pair.first, pair.second) for pair in pairs if pair.distinguishable] == [('a', 'd'), ('b', 'd')]


def test_two_candidates_are_students_paired_test():
    table = GRAFTS[:2] / 100
    interval = ttest_rel(*table).confidence_interval(0.95)
    pair = compare_pairs(blocks(table))[0]
    assert (pair.low, pair.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_quantiles_are_those_of_tukeys_test():
    groups = np.random.default_rng(0).normal(size=(5, 4))
    interval = tukey_hsd(*groups).confidence_interval(0.95)
    within = groups.var(axis=1, ddof=1).mean()
    assert (interval.high - interval.low)[0, 1] / 2 == pytest.approx(quantile(5, 15) * np.sqrt(within / 4))


@pytest.mark.parametrize(('k', 'freedom'), [(12, 22), (12, 77), (3, 13), (12, 1089)])
def test_rough_quantiles(k, freedom):
    assert rough_quantile(k, freedom) == pytest.approx(quantile(k, freedom), rel=0.005)


def test_what_seeds_have_in_common_cancels():
    shifted = GRAFTS + np.array([0, 30, -20, 5, 100, 1])
    np.testing.assert_allclose(margins(shifted).half_width, margins(GRAFTS).half_width)


def test_one_noisy_candidate_widens_its_own_pairs_only():
    rng = np.random.default_rng(0)
    calm = rng.normal(0, 0.01, (6, 5))
    noisy = np.concatenate([calm, rng.normal(0, 0.1, (1, 5))])
    found = margins(noisy)
    with_noisy = found.second == 6
    assert found.half_width[with_noisy].min() > 1.3 * found.half_width[~with_noisy].max()


def test_images_add_their_part():
    """By hand: var(a - b) = 0.0004 + 0.0001 - 2 * 0.0001 = 0.0003; q(2, 71) / sqrt(2) is Student's 1.9939."""
    table, covariance = GRAFTS[:2] / 1000, np.array([[4e-4, 1e-4], [1e-4, 1e-4]])
    alone, with_images = compare_pairs(blocks(table))[0], compare_pairs(blocks(table), covariance, 72)[0]
    assert alone.variance_of_images == 0
    assert with_images.variance_of_images == pytest.approx(3e-4)
    assert with_images.margin_of_images == pytest.approx(1.9939 * np.sqrt(3e-4), rel=1e-4)
    assert with_images.variance_of_seeds == alone.variance_of_seeds
    halves = [(pair.high - pair.low) / 2 for pair in (alone, with_images)]
    assert halves[1] == pytest.approx(np.hypot(halves[0], with_images.margin_of_images))


def test_many_tables_at_once():
    rng = np.random.default_rng(0)
    tables, half = rng.normal(size=(3, 4, 5)), rng.normal(size=(3, 4, 4))
    covariances = half @ half.transpose(0, 2, 1)
    together = margins(tables, covariances, 30)
    for i in range(3):
        np.testing.assert_allclose(together.half_width[i], margins(tables[i], covariances[i], 30).half_width)
        np.testing.assert_allclose(together.difference[i], margins(tables[i]).difference)


def test_a_covariance_of_others_is_refused():
    with pytest.raises(UsageError, match=r'shape \(2, 2\) from 30 images: 4 candidates need one of 4 x 4'):
        margins(GRAFTS, np.eye(2), 30)


def test_one_seed_gives_no_interval():
    pairs = compare_pairs(blocks([[0.3], [0.5]]), np.eye(2) * 1e-4, 50)
    assert (pairs[0].first, pairs[0].difference, pairs[0].seeds) == ('b', pytest.approx(0.2), 1)
    assert (pairs[0].low, pairs[0].high, pairs[0].variance_of_seeds) == (None, None, None)
    assert not pairs[0].distinguishable
    assert any('One seed does not show' in sentence for sentence in method(blocks([[0.3], [0.5]])))


def test_equal_tables_are_not_told_apart():
    pair = compare_pairs(blocks([[0.3, 0.4], [0.3, 0.4]]))[0]
    assert (pair.difference, pair.low, pair.distinguishable) == (0, 0, False)


@pytest.mark.parametrize('n', [6, 8])
def test_sign_flips_are_counted(n):
    differences = np.random.default_rng(n).normal(0.01, 0.02, n)
    means = [np.mean(differences * signs) for signs in itertools.product((1, -1), repeat=n)]
    as_far = np.mean(np.abs(means) >= abs(differences.mean()) - 1e-15)
    assert sign_flip(differences) == pytest.approx(as_far)


def test_the_smallest_p_value():
    assert sign_flip(np.array([0.1, 0.2, 0.1, 0.3, 0.1, 0.2])) == 2 / 2**6
    assert compare_pairs(blocks(GRAFTS))[0].sign_flip_p is not None
    assert compare_pairs(blocks(GRAFTS[:, :5]))[0].sign_flip_p is None
    text = ' '.join(method(blocks(GRAFTS[:, :5])))
    assert '5 seeds have 2^5 = 32 sign patterns, so no two-sided p-value is below 2/32 = 0.0625' in text


def test_only_seeds_that_all_have_finished_count():
    found = complete_blocks(
        dict(a={0: 0.1, 1: 0.2, 2: 0.3}, b={2: 0.6, 0: 0.4, 1: None}, c={}, d={0: 0.7, 1: 0.8, 2: 0.9})
    )
    assert (found.names, found.seeds) == (('a', 'b', 'd'), (0, 2))
    np.testing.assert_array_equal(found.table, [[0.1, 0.3], [0.4, 0.6], [0.7, 0.9]])
    assert found.left_out == (
        'c is left out: none of its runs finished.',
        'Seed 1 is left out of the analysis: not finished by b.',
    )


@pytest.mark.parametrize('scores', [{}, dict(a={}), dict(a={0: 0.1}, b={1: 0.2}), dict(a={0: 0.1})])
def test_there_may_be_nothing_to_compare(scores):
    found = complete_blocks(scores)
    assert compare_pairs(found) == []
    assert method(found)[-1] == 'There are no two candidates to compare.'


def test_the_method_is_said():
    text = ' '.join(method(blocks(GRAFTS), 72, 1000))
    assert '(4 - 1) x (6 - 1) = 15 degrees of freedom' in text
    assert 'The 6 intervals hold simultaneously with 95 % confidence' in text
    assert '1,000 resamples of the 72 images of val' in text
    assert 'tries all 2^6 sign patterns' in text
    assert 'without the variance of images' in ' '.join(method(blocks(GRAFTS)))
