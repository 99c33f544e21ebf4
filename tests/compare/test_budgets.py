"""Budgets: equal seconds and multiply-adds, and a time for everything; with stand-ins for the trainings."""

from dataclasses import dataclass, field

import pytest

from mmcnn.compare import budgets
from mmcnn.compare.candidates import Candidate
from mmcnn.config.load import load_config
from mmcnn.errors import UsageError


@dataclass
class Run:
    """Stands in for a training whose epochs take equal long; its AP is known beforehand."""

    candidate: Candidate
    seconds: float  # of an epoch
    score: float
    folder: str = ''
    epochs: list[int] = field(default_factory=list)  # at which it has paused or ended

    title = 'a run'

    def curve(self):
        return dict.fromkeys(range(1, max(self.epochs, default=0) + 1), self.score)

    def record(self):
        return dict(seconds=self.seconds * max(self.epochs, default=0) + 2.0 * len(self.epochs), failure='too large')

    def has_reached(self, epoch):
        return max(self.epochs, default=0) >= (epoch or 10)

    def __hash__(self):
        return id(self)


@pytest.fixture
def runs(monkeypatch):
    """Six candidates with three seeds, the later the better; an epoch takes 10 s."""
    found = [Run(Candidate(f'b{i}'), 10.0, 0.1 * i + 0.001 * seed) for seed in range(3) for i in range(6)]
    for run in found:
        run.folder = run
    monkeypatch.setattr(budgets, 'training_seconds', lambda run: run.seconds * max(run.epochs))
    return found


def train(runs, until):
    for run in runs:
        run.epochs.append(until or 10)


def test_the_worst_are_dropped_and_the_finalists_are_complete(runs):
    lines = []
    dropped = budgets.train_within(1300.0, runs, 10, train, lines.append)
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


def test_with_time_for_all_nobody_is_dropped(runs):
    assert budgets.train_within(1e6, runs, 10, train, print) == {}
    assert all(run.has_reached(10) for run in runs)


def test_less_time_means_fewer_seeds(runs):
    budgets.train_within(600.0, runs, 10, train, print)
    assert sum(run.record()['seconds'] for run in runs) <= 600
    complete = [run for run in runs if run.has_reached(10)]
    assert 0 < len({run.candidate for run in complete}) <= 3 and len(complete) < 9


def test_too_little_time_is_refused_by_name(runs):
    with pytest.raises(UsageError, match='is too small for 6 candidates and 10 epochs: the smallest plan takes up to'):
        budgets.train_within(100.0, runs, 10, train, print)


def test_a_first_epoch_that_fails_is_named(runs):
    with pytest.raises(UsageError, match=r'a run: the first epoch, .*, has failed: too large'):
        budgets.train_within(1e6, runs, 10, lambda *args: None, print)


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
    first, part, larger = budgets.with_equal_macs(several, cfg, 8, (64, 64))
    assert (first.epochs, part.epochs) == (8, 32)
    assert larger.epochs == 1  # VoVNet-39 has 17 times the multiply-adds of the whole YOLOv5n
