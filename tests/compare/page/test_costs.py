"""AP against costs: axes that do not exaggerate noise, and notes on costs that were not measured."""

import dataclasses
import re

import pytest

from mmcnn.compare.page.costs import _cost_limits, costs_section
from mmcnn.compare.page.numbers import Numbers


def ticks(html, figure='parameters'):
    """Return the tick labels of the first figure's AP axis, which are the numbers with a decimal point."""
    first = str(html).partition('data-option="1"')[0]
    return [float(each) for each in re.findall(r'<text[^>]*>(0\.\d+)</text>', first)]


@pytest.mark.parametrize('half, least', [(1e-7, 0.1), (0.1, 0.2)])
def test_noise_fills_no_axis(small, half, least):
    comparison = small(2)
    candidates = [
        dataclasses.replace(
            each, runs=[dataclasses.replace(run, metrics={'bbox_mAP': 0.4 + i * 1e-6}) for run in each.runs]
        )
        for i, each in enumerate(comparison.candidates)
    ]
    pairs = [dataclasses.replace(comparison.pairs[0], difference=1e-6, low=1e-6 - half, high=1e-6 + half)]
    numbers = Numbers(dataclasses.replace(comparison, candidates=candidates, pairs=pairs))
    found = ticks(costs_section(numbers).body)
    step = found[1] - found[0]
    assert len(found) > 3
    assert max(found) - min(found) + 2 * step >= least


def test_a_tenth_more_does_not_fill_the_axis_of_a_cost():
    low, high = _cost_limits([100, 110])
    assert high / low == pytest.approx(2)
    assert low < 75
    low, high = _cost_limits([1, 100])
    assert low < 1
    assert high > 100


def test_what_is_not_measured_is_said_and_has_no_figure(made_up):
    comparison = made_up(2, epochs=1, losses=2)
    candidates = list(comparison.candidates)
    latency = dataclasses.replace(candidates[1].costs['latency'], value=None, how='it did not run')
    candidates[1] = dataclasses.replace(candidates[1], costs=candidates[1].costs | {'latency': latency})
    body = str(costs_section(Numbers(dataclasses.replace(comparison, candidates=candidates))).body)
    assert re.findall(r'<option value="\d">([^<]+)', body) == [
        'parameters', 'multiply-adds', 'memory access', 'latency end to end', 'latency of the network alone',
        'peak memory', 'training time',
    ]  # fmt: skip
    assert 'Energy: RAPL cannot be read here' in body
    assert 'Latency end to end (mobilenetv2): it did not run' in body
    assert 'Not measured for: mobilenetv2.' in body
    assert body.count('not measured</td>') == 3


def test_every_run_is_a_dot_that_leads_to_its_row(small):
    comparison = small(3)
    first = str(costs_section(Numbers(comparison)).body).partition('data-option="1"')[0]
    links = re.findall(r'href="#(run-\d-\d)"', first)
    assert sorted(links) == [f'run-{i}-{j}' for i in range(3) for j in range(3)]
    run = comparison.candidates[2].runs[1]
    assert f'aria-label="resnet50, seed 1: AP {run.metrics["bbox_mAP"]:.3f}"' in first
    assert 'comparison intervals' in first


def test_without_intervals_no_difference_is_called_certain(small):
    comparison = small(2, seeds=1)
    pairs = [dataclasses.replace(each, low=None, high=None) for each in comparison.pairs]
    body = str(costs_section(Numbers(dataclasses.replace(comparison, pairs=pairs))).body)
    assert 'no difference in this figure is certain' in body
    assert 'comparison interval' not in body


def test_all_failed_there_is_no_figure(small):
    comparison = small(1, seeds=1)
    run = dataclasses.replace(comparison.candidates[0].runs[0], failure='killed', metrics={})
    candidates = [dataclasses.replace(comparison.candidates[0], runs=[run])]
    body = str(costs_section(Numbers(dataclasses.replace(comparison, candidates=candidates))).body)
    assert 'No cost was measured for a candidate with an AP.' in body
    assert '0 of 1' in body
