"""Budgets: equal seconds, equal multiply-adds and a total time, with stand-ins for the trainings."""

from dataclasses import dataclass, field

import pytest

from mmcnn.compare import budgets
from mmcnn.compare.candidates import Candidate
from mmcnn.config.load import load_config
from mmcnn.errors import UsageError


@dataclass
class Run:
    """A stand-in for a training whose epochs take equally long and whose AP is known in advance."""

    candidate: Candidate
    seconds: float  # of an epoch
    score: float
    folder: str = ''
    epochs: list[int] = field(default_factory=list)  # at which it paused or ended

    title = 'a run'

    def curve(self):
        return dict.fromkeys(range(1, max(self.epochs, default=0) + 1), self.score)

    def iterations(self):
        return 60 * max(self.epochs, default=0)

    def record(self):
        return dict(seconds=self.seconds * max(self.epochs, default=0) + 2.0 * len(self.epochs), failure='too large')

    def has_reached(self, epoch):
        return max(self.epochs, default=0) >= (epoch or 10)

    def __hash__(self):
        return id(self)


@pytest.fixture
def runs(monkeypatch):
    """Six candidates with three seeds, each better than the one before; an epoch takes 10 s."""
    found = [Run(Candidate(f'b{i}'), 10.0, 0.1 * i + 0.001 * seed) for seed in range(3) for i in range(6)]
    for run in found:
        run.folder = run
    monkeypatch.setattr(budgets, 'training_seconds', lambda run, iterations: run.seconds * max(run.epochs))
    return found


def train(runs, until):
    for run in runs:
        run.epochs.append(until or 10)


def test_the_worst_are_dropped_and_the_finalists_are_complete(runs, tmp_path):
    lines = []
    found = budgets.train_within(1300.0, runs, 10, train, tmp_path / 'plan.json', lines.append)
    dropped = found.dropped
    assert found.seeds == 3
    spent = sum(run.record()['seconds'] for run in runs)
    assert spent <= 1300
    finalists = {f'b{i}' for i in (3, 4, 5)}
    assert {each.backbone for each in dropped} == {f'b{i}' for i in range(3)}
    for run in runs:
        assert run.has_reached(10) == (run.candidate.backbone in finalists)
    assert any(
        text.startswith('dropped by the budget after epoch ') and 'AP was 0.' in text for text in dropped.values()
    )
    assert lines[-1] == '3 candidates up to epoch 10 of 10, seeds: 3'


def test_with_time_for_all_nobody_is_dropped(runs, tmp_path):
    assert budgets.train_within(1e6, runs, 10, train, tmp_path / 'plan.json', print) == budgets.Outcome({}, 3)
    assert all(run.has_reached(10) for run in runs)


def test_less_time_means_fewer_seeds(runs, tmp_path):
    found = budgets.train_within(600.0, runs, 10, train, tmp_path / 'plan.json', print)
    assert found.seeds < 3
    assert sum(run.record()['seconds'] for run in runs) <= 600
    complete = [run for run in runs if run.has_reached(10)]
    assert 0 < len({run.candidate for run in complete}) <= 3 and len(complete) < 9


def test_too_little_time_is_refused_by_name(runs, tmp_path):
    with pytest.raises(UsageError, match='is too small for 6 candidates and 10 epochs: the smallest plan takes up to'):
        budgets.train_within(100.0, runs, 10, train, tmp_path / 'plan.json', print)


def test_an_interrupted_comparison_goes_on_by_its_plan(runs, tmp_path):
    """It keeps the plan even when most of the time is spent; a complete comparison trains nothing."""
    file, calls = tmp_path / 'plan.json', []

    def interrupted(some, until):
        calls.append(until)
        if len(calls) == 3:
            raise KeyboardInterrupt
        train(some, until)

    with pytest.raises(KeyboardInterrupt):
        budgets.train_within(1300.0, runs, 10, interrupted, file, print)
    left = []

    def rest(some, until):
        some = [run for run in some if not run.has_reached(until)]
        left.extend(some)
        train(some, until)

    first, second = [], []
    found = budgets.train_within(1300.0, runs, 10, rest, file, first.append)
    assert found.seeds == 3 and len(found.dropped) == 3 and left
    left.clear()
    assert budgets.train_within(1300.0, runs, 10, rest, file, second.append) == found
    assert not left and first == second
    # A larger budget has another plan.
    assert budgets.train_within(1e6, runs, 10, rest, file, print) == budgets.Outcome({}, 3)


def test_a_first_epoch_that_fails_leaves_the_others_alone(runs, tmp_path):
    def fails(some, until):
        train([run for run in some if run.candidate.backbone != 'b5'], until)

    found = budgets.train_within(1e6, runs, 10, fails, tmp_path / 'plan.json', print)
    assert found == budgets.Outcome({}, 3)
    assert all(run.has_reached(10) == (run.candidate.backbone != 'b5') for run in runs)
    nobody = [Run(Candidate(name), 10.0, 0.1) for name in 'ab']
    assert budgets.train_within(1e6, nobody, 10, lambda *args: None, tmp_path / 'none', print).dropped == {}


def test_a_first_epoch_that_cannot_be_timed_leaves_the_others_alone(runs):
    several = [Candidate('a'), Candidate('b'), Candidate('c')]
    timed = [Run(each, seconds, 0.0, epochs=[1]) for each, seconds in zip(several, (10.0, 4.0, 2.0), strict=True)]
    timed[0].epochs.clear()
    for run in timed:
        run.folder = run
    assert [each.epochs for each in budgets.with_equal_seconds(several, timed, 20)] == [20, 20, 40]


def test_a_first_epoch_that_fails_everywhere_is_named():
    with pytest.raises(UsageError, match=r'a run: the first epoch, .*, failed: too large'):
        budgets.with_equal_seconds([Candidate('a')], [Run(Candidate('a'), 10.0, 0.1)], 20)


def test_equal_seconds(runs):
    several = [Candidate('a'), Candidate('b'), Candidate('c')]
    timed = [Run(each, seconds, 0.0, epochs=[1]) for each, seconds in zip(several, (10.0, 4.0, 1000.0), strict=True)]
    for run in timed:
        run.folder = run
    assert [each.epochs for each in budgets.with_equal_seconds(several, timed, 20)] == [20, 50, 1]


@pytest.mark.slow
def test_equal_multiply_adds_count_the_share_of_the_data():
    cfg = load_config('yolov5_n')
    several = [Candidate('cspdarknet-n'), Candidate('cspdarknet-n', fraction=0.25), Candidate('vovnet39')]
    first, part, larger = budgets.with_equal_macs(several, [each.config(cfg) for each in several], 8, (64, 64))
    assert (first.epochs, part.epochs) == (8, 32)
    assert larger.epochs == 1  # VoVNet-39 has 17 times the multiply-adds of the whole YOLOv5n
