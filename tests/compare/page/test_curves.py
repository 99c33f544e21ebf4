"""Training curves: means of complete runs, losses averaged over intervals."""

import dataclasses
import re

import numpy as np
import pytest

from mmcnn.compare.page.curves import _thinned, curves_section
from mmcnn.compare.page.numbers import Numbers


def test_means_are_of_the_runs_that_reached_the_end(made_up):
    comparison = made_up(1, seeds=3, epochs=4, losses=10)
    runs = list(comparison.candidates[0].runs)
    runs[2] = dataclasses.replace(runs[2], failure='killed', curve=runs[2].curve[:2])
    candidates = [dataclasses.replace(comparison.candidates[0], runs=runs)]
    body = str(curves_section(Numbers(dataclasses.replace(comparison, candidates=candidates))).body)
    told = re.findall(r'aria-label="vovnet39, epoch (\d): mean AP ([\d.]+) of 2 runs"', body)
    expected = [np.mean([run.curve[epoch]['AP'] for run in runs[:2]]) for epoch in range(4)]
    assert [int(epoch) for epoch, _ in told] == [1, 2, 3, 4]
    assert [float(mean) for _, mean in told] == pytest.approx(expected, abs=5e-4)


def test_losses_are_means_of_parts(small):
    run = small(1, seeds=1).candidates[0].runs[0]
    run = dataclasses.replace(run, losses=[dict(iteration=i + 1, loss=float(i % 2)) for i in range(600)])
    iterations, losses = _thinned(run)
    assert iterations == pytest.approx(np.arange(60) * 10 + 5.5)
    assert losses == pytest.approx([0.5] * 60)
    few = dataclasses.replace(run, losses=[dict(iteration=1, loss=3.0), dict(iteration=2, loss=float('nan'))])
    assert [each.tolist() for each in _thinned(few)] == [[1.0], [3.0]]


def test_runs_without_curves_are_said(small):
    comparison = small(1, seeds=1)
    run = dataclasses.replace(comparison.candidates[0].runs[0], curve=[], losses=[])
    candidates = [dataclasses.replace(comparison.candidates[0], runs=[run])]
    body = curves_section(Numbers(dataclasses.replace(comparison, candidates=candidates))).body
    assert 'No run has kept a curve.' in body
