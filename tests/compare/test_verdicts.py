"""Verdicts as sentences, and the groups that a critical-difference diagram joins."""

import itertools

import numpy as np

from mmcnn.compare.statistics import Blocks, Pair, compare_pairs
from mmcnn.compare.verdicts import groups, more_seeds, verdict


def pair(difference, half, *, first='vovnet39', second='mobilenetv2', seeds=3, of_seeds=1e-4, images=0.0):
    return Pair(
        first, second, difference, difference - half, difference + half, seeds, of_seeds, images**2 / 4, images, None,
    )  # fmt: skip


def test_a_claim():
    assert verdict(pair(0.041, 0.023), 12) == 'vovnet39 > mobilenetv2 (+0.041, 95 % 0.018 to 0.064)'


def test_no_claim_and_what_it_would_take():
    """q(2, 2) / sqrt(2) is Student's 4.303 and so on: by hand, 0.02 * t(0.975, n - 1) / sqrt(n) < 0.02 for n >= 7."""
    found = pair(0.02, 0.05, of_seeds=0.02**2 / 3)
    assert more_seeds(found, 2) == 4
    start = 'vovnet39 and mobilenetv2 are not distinguishable (+0.020, 95 % -0.030 to 0.070): '
    assert verdict(found, 2) == start + 'about 4 more seeds'
    assert verdict(found, 2, seconds=600) == start + 'about 4 more seeds, 40 min'
    assert verdict(found, 2, seconds=3600) == start + 'about 4 more seeds, 4.0 h'
    assert verdict(pair(0.001, 0.05), 12).endswith('more than 100 more seeds')


def test_a_claim_never_reads_as_if_zero_were_in_its_interval():
    assert verdict(pair(0.02, 0.0196), 2) == 'vovnet39 > mobilenetv2 (+0.020, 95 % 0.0004 to 0.040)'
    assert 'not distinguishable (+0.020, 95 % -0.000 to 0.040)' in verdict(pair(0.02, 0.0204), 2)


def test_images_may_not_allow_a_claim():
    found = pair(0.02, 0.05, images=0.031)
    assert verdict(found, 12, 72).endswith(': more seeds will not help: the 72 validation images leave ±0.031')
    assert more_seeds(found, 12) is None


def test_images_make_more_seeds_necessary():
    assert more_seeds(pair(0.02, 0.05, of_seeds=0.02**2 / 3, images=0.015), 2) > 4


def test_one_seed_cannot_tell():
    found = compare_pairs(Blocks(('a', 'b'), (0,), np.array([[0.30], [0.312]])))[0]
    assert verdict(found, 2) == 'b and a: one seed cannot tell (+0.012)'


def test_so_many_seeds_do_make_the_claim():
    """With the planned number of seeds the pair is told apart; with one seed fewer it is not."""
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.02, (3, 4))
    noise -= noise.mean(axis=1, keepdims=True)
    table = noise + np.array([[0.50], [0.47], [0.44]])
    found = compare_pairs(Blocks(('a', 'b', 'c'), (0, 1, 2, 3), table))
    close = next(each for each in found if (each.first, each.second) == ('a', 'b'))
    assert not close.distinguishable
    more = more_seeds(close, 3)
    assert 1 < more < 50
    from_variances = [
        Blocks(('a', 'b', 'c'), tuple(range(n)), _with_variances(table, n)) for n in (4 + more - 1, 4 + more)
    ]
    claims = [
        next(each for each in compare_pairs(each) if (each.first, each.second) == ('a', 'b')).distinguishable
        for each in from_variances
    ]
    assert claims == [False, True]


def _with_variances(table, n):
    """Return a table (k, n) with the same means and the same covariance of residuals."""
    k = len(table)
    root = np.linalg.cholesky(np.cov(table) + 1e-15 * np.eye(k))
    basis = np.random.default_rng(0).normal(size=(n, k))
    basis -= basis.mean(axis=0)
    orthogonal = np.linalg.qr(basis)[0].T * np.sqrt(n - 1)
    return table.mean(axis=1, keepdims=True) + root @ orthogonal


def of_means(means, critical):
    """Make all pairs of candidates; they are told apart where their means differ by more than ``critical``."""
    names = sorted(means, key=lambda name: -means[name])
    return [
        pair(means[a] - means[b], critical, first=a, second=b) for a, b in itertools.combinations(names, 2)
    ]  # fmt: skip


def test_groups_overlap_as_in_a_critical_difference_diagram():
    means = dict(d=0.10, a=0.40, c=0.30, b=0.35, e=0.34)
    assert groups(of_means(means, 0.065), means) == [('a', 'b', 'e'), ('b', 'e', 'c'), ('d',)]
    assert groups(of_means(means, 1), means) == [('a', 'b', 'e', 'c', 'd')]
    assert groups(of_means(means, 0.001), means) == [('a',), ('b',), ('e',), ('c',), ('d',)]
    assert groups([], dict(a=0.1)) == [('a',)]


def test_groups_are_the_largest_and_hold_no_pair_that_is_told_apart():
    rng = np.random.default_rng(0)
    means = {f'n{i}': value for i, value in enumerate(rng.random(9))}
    pairs = [pair(p.difference, rng.uniform(0, 0.6), first=p.first, second=p.second) for p in of_means(means, 0)]
    together = {frozenset((p.first, p.second)) for p in pairs if not p.distinguishable}
    cliques = [
        set(names)
        for size in range(1, 10)
        for names in itertools.combinations(means, size)
        if all(frozenset(two) in together for two in itertools.combinations(names, 2))
    ]
    largest = [each for each in cliques if not any(each < other for other in cliques)]
    found = [set(each) for each in groups(pairs, means)]
    assert sorted(map(sorted, found)) == sorted(map(sorted, largest))
