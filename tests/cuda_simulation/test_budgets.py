import dataclasses

import pytest

from tests.cuda_simulation import budgets
from tests.cuda_simulation.budgets import Budget, complaints
from tests.cuda_simulation.recipes import PRECISIONS, RECIPES

BUDGET = Budget(step_waits=4, step_kernels=1000, predict_waits=10, nms_waits=0, evaluate_waits=12, predict_kernels=100)


@pytest.mark.parametrize(
    ('name', 'number', 'said'),
    [
        ('step_waits', 5, 'step_waits are 5, more than the budget of 4'),
        ('step_waits', 3, 'step_waits are 3, fewer than the budget of 4: lower it in budgets.json'),
        ('nms_waits', 1, 'nms_waits are 1, more than the budget of 0'),
        ('step_kernels', 1001, 'step_kernels are 1001, more than the budget of 1000'),
        ('step_kernels', 899, 'step_kernels are 899, fewer than the budget of 1000: lower it in budgets.json'),
        ('step_kernels', 900, None),
        ('predict_waits', 9, None),
        ('predict_kernels', 101, 'predict_kernels are 101, more than the budget of 100'),
        ('predict_kernels', 50, None),
        ('predict_waits', 10, None),
    ],
)
def test_a_budget_is_kept_and_near(name, number, said):
    taken = dataclasses.replace(BUDGET, **{name: number})
    assert list(complaints(taken, BUDGET)) == ([] if said is None else [said])


def test_renewing_keeps_the_larger_number_of_what_follows_the_detections():
    taken = dataclasses.replace(BUDGET, step_waits=1, predict_kernels=50)
    assert budgets.renewed(BUDGET, taken) == dataclasses.replace(BUDGET, step_waits=1)
    assert budgets.renewed(BUDGET, dataclasses.replace(BUDGET, nms_waits=2)).nms_waits == 2


def test_every_recipe_has_one_in_each_precision():
    table = budgets.read()
    assert list(table) == list(budgets.cases())
    assert {case[0] for case in table} == set(RECIPES) and {case[1] for case in table} == set(PRECISIONS)


def test_the_table_is_written_as_it_is_read(tmp_path, monkeypatch):
    table = budgets.read()
    text = budgets.PATH.read_text()
    monkeypatch.setattr(budgets, 'PATH', tmp_path / 'budgets.json')
    budgets.write(table)
    assert budgets.read() == table and budgets.PATH.read_text() == text


def test_what_was_aimed_at_is_reached():
    """MISSED lists exactly the goals that are missed, so a goal that is reached has to be removed from it."""
    missed = {
        (name, goal, size)
        for (name, _, size), budget in budgets.read().items()
        for goal, bound in budgets.GOALS.get(name, {}).items()
        if getattr(budget, goal) > bound
    }
    assert missed == budgets.MISSED
