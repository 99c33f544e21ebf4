"""Means over common seeds, comparison intervals, costs as text."""

import dataclasses
import itertools

import pytest

from mmcnn.compare.page.numbers import (
    Numbers,
    half_width,
    in_words,
    mean_and_spread,
    metric,
    quantity,
    scale,
    told_apart,
)


def with_intervals(comparison, halves):
    """Set intervals with these half widths, in the order of the pairs; None removes an interval."""
    pairs = [
        dataclasses.replace(
            pair,
            low=None if half is None else pair.difference - half,
            high=None if half is None else pair.difference + half,
        )
        for pair, half in zip(comparison.pairs, halves, strict=True)
    ]
    return dataclasses.replace(comparison, pairs=pairs)


def failed(comparison, place, seed):
    """Mark a run as failed."""
    candidates = list(comparison.candidates)
    runs = [
        dataclasses.replace(run, failure='killed', metrics={}) if run.seed == seed else run
        for run in candidates[place].runs
    ]
    candidates[place] = dataclasses.replace(candidates[place], runs=runs)
    return dataclasses.replace(comparison, candidates=candidates)


def test_means_are_over_the_seeds_that_all_have_finished(small):
    numbers = Numbers(failed(small(3), 1, seed=2))
    assert numbers.common_seeds == [(0, None), (1, None)]
    for candidate in numbers.comparison.candidates:
        first, second = (run.metrics['bbox_mAP'] for run in candidate.runs[:2])
        assert numbers.means[candidate.name] == pytest.approx((first + second) / 2)
    assert list(numbers.means.values()) == sorted(numbers.means.values(), reverse=True)


def test_one_seed_with_several_init_seeds_is_several(small):
    comparison = small(2, seeds=2)
    candidates = [
        dataclasses.replace(
            each, runs=[dataclasses.replace(run, seed=0, init_seed=place) for place, run in enumerate(each.runs)]
        )
        for each in comparison.candidates
    ]
    numbers = Numbers(dataclasses.replace(comparison, candidates=candidates))
    assert [in_words(each) for each in numbers.common_seeds] == ['0 (init seed 0)', '0 (init seed 1)']
    for candidate in candidates:
        both = [run.metrics['bbox_mAP'] for run in candidate.runs]
        assert numbers.means[candidate.name] == pytest.approx(sum(both) / 2)


def test_a_candidate_without_a_finished_run_has_no_mean(small):
    numbers = Numbers(failed(small(2, seeds=1), 0, seed=0))
    assert [each.name for each in numbers.measured] == ['mobilenetv2']
    assert list(numbers.means) == ['mobilenetv2']


@pytest.mark.parametrize('spread', [0.0, 0.5])
def test_comparison_intervals_that_do_not_meet_are_of_distinguishable_pairs(small, spread):
    comparison = small(6)
    halves = [0.02 * (1 + spread * (i % 5)) for i in range(15)]
    numbers = Numbers(with_intervals(comparison, halves))
    own = numbers.own_half_widths
    sums = [own[one] + own[other] for one, other in itertools.combinations(own, 2)]
    needed = {frozenset((pair.first, pair.second)): half for pair, half in zip(comparison.pairs, halves, strict=True)}
    for (one, other), found in zip(itertools.combinations(own, 2), sums, strict=True):
        assert found >= needed[frozenset((one, other))] - 1e-9
    assert min(own.values()) >= 0
    if not spread:  # with equal intervals, each candidate gets half
        assert list(own.values()) == pytest.approx([0.01] * 6)


def test_two_candidates_share_their_interval_in_halves(small):
    numbers = Numbers(with_intervals(small(2), [0.03]))
    assert list(numbers.own_half_widths.values()) == pytest.approx([0.015, 0.015])
    assert numbers.widest == pytest.approx(0.06)


@pytest.mark.parametrize('ends', [(None, None), (float('-inf'), float('inf'))])
def test_one_seed_gives_no_interval(small, ends):
    comparison = small(2, seeds=1)
    pair = dataclasses.replace(comparison.pairs[0], low=ends[0], high=ends[1])
    numbers = Numbers(dataclasses.replace(comparison, pairs=[pair]))
    assert half_width(pair) is None
    assert not told_apart(pair)
    assert numbers.own_half_widths == {}
    assert numbers.widest == 0
    assert len(numbers.groups) == 1


def test_groups_are_of_what_no_pair_separates(small):
    comparison = small(3)  # pairs are sorted by difference, the largest first
    numbers = Numbers(with_intervals(comparison, [1e-6, 1, 1]))
    first, middle, last = numbers.means
    assert {frozenset(group) for group in numbers.groups} == {frozenset((first, middle)), frozenset((middle, last))}


def test_what_was_not_there_to_measure_is_no_metric(small):
    run = small(1, seeds=1).candidates[0].runs[0]
    assert metric(run, 'bbox_mAP_s') is None  # COCO says -1
    assert metric(run, 'nothing') is None
    assert metric(dataclasses.replace(run, failure='killed'), 'bbox_mAP') is None
    assert metric(dataclasses.replace(run, metrics={'bbox_mAP': float('nan')}), 'bbox_mAP') is None
    assert metric(dataclasses.replace(run, metrics={'bbox_mAP': 0.0}), 'bbox_mAP') == 0


def test_words():
    assert mean_and_spread([]) == '-'
    assert mean_and_spread([0.5]) == '0.500'
    assert mean_and_spread([0.4, 0.6]) == '0.500 ± 0.141'
    found = [
        quantity(*each) for each in ((4212345, ''), (0.4e9, ''), (12.34, 'ms'), (150, 's'), (9000, 's'), (812.4, 'MB'))
    ]
    assert found == ['4.21 M', '400 M', '12.3 ms', '2.5 min', '2.5 h', '812 MB']
    assert quantity(2.5e9, 'B') == '2.5 GB'
    assert quantity(0, '') == '0'
    assert scale(3e9, '') == (1e9, 'G')
    assert scale(30, 's') == (1, 's')
