import pytest

from mmcnn.benchmarks.gpu.budget import Budget


@pytest.fixture
def clock():
    return [0.0]


def test_stages_share_the_seconds_and_measurements_those_of_their_stage(clock):
    budget = Budget(100, {'a': 1, 'b': 3}, lambda: clock[0])
    budget.enter('a')
    assert budget.allowance(5) == pytest.approx(5)
    clock[0] = 15
    assert budget.allowance(4) == pytest.approx(2.5)
    budget.enter('b')  # a left 10 s over, and the last stage gets everything that is left
    assert budget.allowance(1) == pytest.approx(85)
    assert budget.left() == pytest.approx(85)


def test_a_stage_that_took_too_long_takes_from_all_after_it(clock):
    budget = Budget(100, {'a': 2, 'b': 1, 'c': 1}, lambda: clock[0])
    budget.enter('a')
    clock[0] = 60
    assert budget.allowance(1) < 0
    budget.enter('b')
    assert budget.allowance(2) == pytest.approx(10)
    budget.enter('c')
    assert budget.allowance(1) == pytest.approx(40)
