"""Plans for a budget: their costs by hand, the data they may use, and how often they keep the best candidate."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from mmcnn.compare.halving import (
    Rung,
    cost_share,
    fit,
    most_seconds,
    plan,
    replay,
    survivors,
    trained_epochs,
)
from mmcnn.errors import UsageError

ALL = (0, 1, 2)


def curves(rng, k=12, n=3, epochs=10, spread=0.04, noise=0.02, paces=(2, 4), jitter=0.01):
    """Draw AP (k, n, E): each candidate approaches its AP at its own pace; the seed and each epoch add noise."""
    final = 0.35 + rng.normal(0, spread, k)
    pace = rng.uniform(*paces, k)[:, None]
    epoch = np.arange(1, epochs + 1)
    mean = final[:, None] * (1 - np.exp(-epoch / pace)) / (1 - np.exp(-epochs / pace))
    return mean[:, None] + rng.normal(0, noise, (k, n, 1)) + rng.normal(0, jitter, (k, n, epochs))


def share_found(number, rungs, **kwargs):
    rng = np.random.default_rng(0)
    return np.mean([replay(curves(rng, **kwargs), rungs).found for _ in range(number)])


def test_the_plan_of_twelve_candidates():
    """By hand: 12 x 2 + 8 x 2 + 5 x 2 + 3 x 4 epochs of the first seed, 3 x 10 of each further one: 122 of 360."""
    rungs = plan(12, 10, 3)
    assert rungs == [Rung(12, 2, (0,)), Rung(8, 4, (0,)), Rung(5, 6, (0,)), Rung(3, 10, ALL)]
    assert trained_epochs(rungs) == [2, 2, 2, 4 + 20]
    assert cost_share(rungs, 12, 10, 3) == pytest.approx(122 / 360)
    assert cost_share(rungs, 12, 10, 3) <= 0.35


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        ((12, 10, 3, 2), [Rung(12, 2, (0,)), Rung(6, 5, (0,)), Rung(3, 10, ALL)]),
        ((12, 10, 3, 4), [Rung(12, 2, (0,)), Rung(3, 10, ALL)]),
        ((12, 10, 3, 1), [Rung(12, 10, ALL)]),
        ((3, 10, 3), [Rung(3, 10, ALL)]),
        ((2, 10, 1), [Rung(2, 10, (0,))]),
        ((5, 1, 1, 2, 1), [Rung(5, 1, (0,)), Rung(4, 1, (0,)), Rung(2, 1, (0,)), Rung(1, 1, (0,))]),
    ],
)
def test_other_plans(arguments, expected):
    assert plan(*arguments) == expected


@pytest.mark.parametrize('k', range(1, 30))
def test_plans_only_get_smaller_and_longer(k):
    rungs = plan(k, 20, 3)
    assert rungs[0].candidates == k
    for earlier, later in itertools.pairwise(rungs):
        assert earlier.candidates > later.candidates
        assert earlier.epoch < later.epoch
        assert set(earlier.seeds) <= set(later.seeds)


def test_survivors():
    assert survivors(dict(a=0.1, b=0.3, c=0.2), 2) == ['b', 'c']
    assert survivors(dict(a=0.1, b=None, c=float('nan'), d=0.0), 3) == ['a', 'd', 'b']
    assert survivors(dict(a=0.2, b=0.2, c=0.2), 2) == ['a', 'b']


def test_replay_sees_only_what_was_trained():
    found = curves(np.random.default_rng(3))
    rungs = plan(12, 10, 3)
    expected = replay(found, rungs)
    hidden, staying = np.full_like(found, -1e9), list(range(12))
    for rung, following in itertools.pairwise(rungs):
        hidden[staying, 0, : rung.epoch] = found[staying, 0, : rung.epoch]
        staying = sorted(staying, key=lambda i: -found[i, 0, rung.epoch - 1])[: following.candidates]
    hidden[staying] = found[staying]
    assert replay(hidden, rungs).finalists == expected.finalists
    assert set(expected.finalists) == set(staying)
    assert expected.best == found[:, :, -1].mean(axis=1).argmax()
    assert expected.cost_share == pytest.approx(122 / 360)


def test_without_noise_the_best_is_found_if_curves_do_not_cross():
    assert share_found(50, plan(12, 10, 3), noise=0, jitter=0, paces=(3, 3)) == 1


def test_a_late_bloomer_is_lost():
    table = np.full((12, 3, 10), 0.3) + np.linspace(0, 0.1, 12)[:, None, None]
    table[0] = np.where(np.arange(10) < 8, 0.0, 0.9)
    found = replay(table, plan(12, 10, 3))
    assert (found.best, found.found, found.finalists) == (0, False, (11, 10, 9))


def test_noisy_curves():
    """Counted over 400 sets of 12 candidates (more in docs/comparison.md); chance keeps the best in 3 of 12."""
    found = share_found(400, plan(12, 10, 3))
    assert found >= 0.8
    assert share_found(400, plan(12, 10, 3), spread=0.06) > found
    assert 400 * found > binom.ppf(0.9999, 400, 3 / 12)


def test_replay_of_another_plan_is_refused():
    with pytest.raises(UsageError, match='12 candidates, 3 seeds and 10 epochs cannot replay a plan of 8 candidates'):
        replay(curves(np.random.default_rng(0)), plan(8, 10, 3))


def test_the_largest_plan_that_fits_is_chosen():
    seconds = dict.fromkeys('abcdefghijkl', 1.0)
    assert fit(360, seconds, 10, 3) == [Rung(12, 10, ALL)]
    assert fit(126, seconds, 10, 3) == plan(12, 10, 3)
    assert fit(121, seconds, 10, 3) == plan(12, 10, 3, 2)
    assert fit(80, seconds, 10, 3)[-1].seeds == (0, 1)
    for budget in range(60, 400, 7):
        assert most_seconds(fit(budget, seconds, 10, 3), seconds) <= budget
    with pytest.raises(
        UsageError, match=r'a budget of 30 s is too small for 12 candidates and 10 epochs: .* up to 48 s'
    ):
        fit(30, seconds, 10, 3)


def test_the_slowest_are_reckoned_with():
    """By hand: both train for 2 epochs, then the slow one for the other 8."""
    rungs = [Rung(2, 2, (0,)), Rung(1, 10, (0,))]
    assert most_seconds(rungs, dict(a=1.0, b=5.0)) == 2 * 6 + 8 * 5
    assert most_seconds(rungs, dict(a=1.0, b=5.0), overhead_seconds=10) == 2 * 6 + 8 * 5 + 3 * 10


def test_impossible_plans_are_refused():
    with pytest.raises(UsageError, match='epochs=0: a plan needs 1 or more'):
        plan(12, 0, 3)


@pytest.mark.campaign
def test_campaign(capsys):
    """Print the table of docs/comparison.md, with 5,000 sets of curves per cell."""
    plans = {
        'one of 1.5': plan(12, 10, 3),
        'one of 2': plan(12, 10, 3, 2),
        'one of 4': plan(12, 10, 3, 4),
        'one of 1.1, two seeds': plan(12, 10, 2, 1.1),
    }
    worlds = {
        'as usual': dict(),
        'candidates nearer to each other (0.02)': dict(spread=0.02),
        'candidates equal': dict(spread=0),
        'paces from 1 to 8 epochs': dict(paces=(1, 8)),
        'equal paces': dict(paces=(3, 3)),
        'every epoch noisier (0.02)': dict(jitter=0.02),
    }
    with capsys.disabled():
        heads = [f'{each} ({cost_share(rungs, 12, 10, 3):.1%} of the cost)' for each, rungs in plans.items()]
        print(f'\n| curves | {" | ".join(heads)} |\n|---|--:|--:|--:|--:|')
        for name, world in worlds.items():
            print(
                f'| {name} | ' + ' | '.join(f'{share_found(5000, each, **world):.2f}' for each in plans.values()), '|'
            )
