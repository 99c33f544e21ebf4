import time
from collections import Counter
from itertools import islice, pairwise

import pytest

from mmcnn import interleaved
from mmcnn.interleaved import cpu_seconds, in_turn, orders, repeats, wall_seconds


def test_every_round_has_all_sides_in_another_order():
    order = []

    def side(name, figures):
        def measured():
            order.append(name)
            return figures.pop(0)

        return measured

    figures = in_turn({'a': side('a', [9, 1, 2, 3]), 'b': side('b', [8, 4, 5, 6]), 'c': side('c', [7, 7, 7, 7])}, 3)
    assert figures == {'a': [1, 2, 3], 'b': [4, 5, 6], 'c': [7, 7, 7]}
    assert [''.join(order[i : i + 3]) for i in range(0, len(order), 3)] == ['abc', 'abc', 'cba', 'bca']


@pytest.mark.parametrize('count', range(1, 10))
def test_each_side_follows_each_other_and_has_each_place_equally_often(count):
    names = [str(number) for number in range(count)]
    rounds = [*islice(orders(names), count * (1 + count % 2))]
    assert all(sorted(order) == names for order in rounds)
    places = Counter((place, name) for order in rounds for place, name in enumerate(order))
    followed = Counter(pair for order in rounds for pair in pairwise(order))
    assert set(places.values()) == {1 + count % 2}
    assert len(followed) == count * (count - 1)
    assert set(followed.values()) <= {1 + count % 2}


def test_the_mean_of_repeated_calls_is_the_figure(monkeypatch):
    calls, clock = [], iter([10.0, 16.0])
    monkeypatch.setattr(interleaved.time, 'perf_counter', lambda: next(clock))
    assert wall_seconds(lambda: calls.append(1), 4)() == 1.5
    assert len(calls) == 4


def test_waiting_keeps_no_processor_busy():
    assert cpu_seconds(lambda: time.sleep(0.02))() < 0.01
    assert wall_seconds(lambda: time.sleep(0.02))() >= 0.02


def test_a_call_that_computes_more_takes_longer():
    calls = {'once': lambda: sum(range(10**5)), 'ten': lambda: sum(range(10**6))}
    seconds = in_turn({name: cpu_seconds(call) for name, call in calls.items()}, 5)
    assert 4 < sorted(seconds['ten'])[2] / sorted(seconds['once'])[2] < 25


@pytest.mark.parametrize(('seconds', 'expected'), [(0.01, 20), (0.5, 1), (0, 200_000)])
def test_short_calls_are_repeated(seconds, expected, monkeypatch):
    clock = iter([1.0, 1.0 + seconds])
    monkeypatch.setattr(interleaved.time, 'process_time', lambda: next(clock))
    assert repeats(lambda: None, 0.2) == expected
