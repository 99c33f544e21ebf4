"""The score with the best F1, against trying every score."""

import numpy as np
import pytest

from mmcnn.evaluation.best_f1 import best_f1_score


def mean_f1(score, scores, found, classes, num_objects):
    """The definition, in plain loops."""
    values = []
    for kind, count in num_objects.items():
        if count == 0:
            continue
        true = sum(1 for s, f, c in zip(scores, found, classes, strict=True) if c == kind and s >= score and f)
        false = sum(1 for s, f, c in zip(scores, found, classes, strict=True) if c == kind and s >= score and not f)
        values.append(2 * true / (2 * true + false + count - true))
    return sum(values) / len(values)


@pytest.mark.parametrize('seed', range(20))
def test_no_score_is_better(seed):
    rng = np.random.default_rng(seed)
    count = rng.integers(1, 60)
    found = rng.random(count) < 0.4
    scores = np.where(found, rng.beta(4, 2, count), rng.beta(2, 4, count)).round(2)  # with ties
    classes = rng.choice([3, 7, 11], count)
    case = scores, found, classes, {3: 40, 7: 35, 11: 50, 5: 0, 6: 4}
    best = best_f1_score(*case)
    every = {score: mean_f1(score, *case) for score in scores}
    assert mean_f1(best, *case) == pytest.approx(max(every.values()))
    # Of equally good scores the highest is found: no score above it is as good.
    highest = max(score for score, value in every.items() if value > max(every.values()) - 1e-12)
    assert max((score for score in scores if score < highest), default=0) < best <= highest


def test_hand_worked():
    # Of two objects one is found at 0.9 and one at 0.6; a false box is at 0.8 and two are at 0.3.
    # F1 is 2/3 at 0.9, 1/2 at 0.8, 4/5 at 0.6 and 4/7 at 0.3.
    scores, found = np.array([0.9, 0.8, 0.6, 0.3, 0.3]), np.array([True, False, True, False, False])
    assert best_f1_score(scores, found, np.zeros(5), {0: 2}) == pytest.approx(0.45)
    # No score is lower than the best one.
    assert best_f1_score(scores[:3], found[:3], np.zeros(3), {0: 2}) == pytest.approx(0.6)


def test_classes_count_alike_however_many_objects_they_have():
    # Class 0 is right at 0.9 and wrong at 0.5; class 1, with 100 objects, has 3 more correct boxes at 0.5.
    scores = np.array([0.9, 0.5, 0.9, 0.5, 0.5, 0.5])
    found = np.array([True, False, True, True, True, True])
    classes = np.array([0, 0, 1, 1, 1, 1])
    case = scores, found, classes, {0: 1, 1: 100}
    assert best_f1_score(*case) == pytest.approx(0.7)
    assert mean_f1(0.7, *case) > mean_f1(0.5, *case)


@pytest.mark.parametrize('found', [[], [False, False]])
def test_nothing_found_has_no_best_score(found):
    found = np.array(found, dtype=bool)
    assert best_f1_score(np.linspace(0.5, 1, len(found)), found, np.zeros(len(found)), {0: 3}) is None
    assert best_f1_score(np.array([0.5]), np.array([False]), np.array([1]), {0: 0, 1: 0}) is None
