from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from torch import nn

from mmcnn.benchmarks import pipeline, validation, validation_parts
from mmcnn.benchmarks.divided import NETWORK, PartClock
from mmcnn.benchmarks.options import ValidationOptions
from mmcnn.benchmarks.validation_parts import BATCHES, BOXES, EPOCH, PARTS, DividedValidation, _TimedLoader
from mmcnn.engine import BNStatisticsHook


def seconds(**given):
    known = dict.fromkeys((EPOCH, *PARTS, "BatchNorm's statistics", 'checkpoints'), 0.0)
    return known | {name.replace('_', ' '): value for name, value in given.items()}


ROUNDS = {
    'mmcnn': [
        seconds(epoch=2.0, network=0.2, checkpoints=0.4, loop=0.1, **{BATCHES: 0.04, BOXES: 0.06}),
        seconds(epoch=4.0, network=0.2, checkpoints=0.8, loop=0.1, **{BATCHES: 0.04, BOXES: 0.06}),
    ],
    'MMDetection YOLOX-tiny': [seconds(epoch=5.0, network=1.0), seconds(epoch=5.0, network=1.0, checkpoints=0.1)],
}


def test_shares_are_of_the_epoch_and_without_checkpoints():
    found = {each.row: each for each in validation.comparisons(ROUNDS)}
    ours = {row: each.figures['mmcnn'] for row, each in found.items() if 'mmcnn' in each.figures}
    assert ours['validation'] == pytest.approx([400, 400]) and found['validation'].unit == 'ms'
    assert ours['validation, share of an epoch'] == pytest.approx([20, 10])
    assert ours['batches, boxes and NMS, share of an epoch'] == pytest.approx([5, 2.5])
    assert ours['network, share of an epoch'] == pytest.approx([10, 5])
    assert ours['checkpoints'] == pytest.approx([400, 800])
    ratio = found['validation, share of an epoch'].ratio('mmcnn')
    assert (ratio.smallest, ratio.largest) == pytest.approx((0.5, 1.0))


def test_a_part_that_a_side_does_not_have_in_each_round_is_not_compared():
    found = {each.row: each for each in validation.comparisons(ROUNDS)}
    assert [*found['checkpoints'].figures] == ['mmcnn'] and found['checkpoints'].best_peer is None
    assert 'folding' not in found


class Spending(nn.Module):
    """Layers that take a number of seconds."""

    def __init__(self, spend, seconds):
        super().__init__()
        self.spend, self.seconds = spend, seconds

    def forward(self, x):
        self.spend(self.seconds)
        return x


class Copied(Spending):
    """A head that a validation replaces by a copy, as folding does."""


def test_a_copy_of_the_head_is_the_network_too_and_the_class_is_as_before():
    now = [0.0]
    clock = PartClock(lambda: now[0])
    head = Copied(lambda seconds: now.__setitem__(0, now[0] + seconds), 2)
    predict = clock.timed(BOXES, lambda module: (module(torch.zeros(1)), head.spend(1)))
    with clock.timing(Copied, 'forward', NETWORK):
        predict(head)
        predict(Copied(head.spend, 3))
    predict(head)
    assert clock.seconds == {NETWORK: 5, BOXES: 2 + 3}
    assert 'forward' not in vars(Copied)
    with clock.timing(Spending, 'forward', NETWORK):
        pass
    assert vars(Spending)['forward'].__qualname__ == 'Spending.forward' and not hasattr(Spending.forward, '__wrapped__')


def test_waiting_for_a_batch_belongs_to_the_batches_and_ends_with_the_loader():
    now = [0.0]
    clock = PartClock(lambda: now[0])

    class Loader:
        dataset = 'the data set'

        def __iter__(self):
            for number in range(2):
                now[0] += 3
                yield number

        def __len__(self):
            return 2

    loader = _TimedLoader(Loader(), clock)

    def use():
        for _ in loader:
            now[0] += 1

    clock.timed('loop', use)()
    assert clock.seconds == {BATCHES: 6, 'loop': 2}
    assert loader.dataset == 'the data set' and len(loader) == 2


def test_statistics_after_an_epoch_include_their_network_and_are_not_the_epoch(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(validation_parts.time, 'perf_counter', lambda: now[0])

    def spend(seconds):
        now[0] += seconds

    class Statistics(BNStatisticsHook):
        def after_train_epoch(self, runner):
            runner.model.extract_feat(5)

    class Loop:
        dataloader = ()

        def run(self):
            Loop.runner.model.predict(7)

    class Runner:
        hooks, val_loop = (Statistics(),), Loop()
        model, val_evaluator = nn.Module(), SimpleNamespace(process=spend, evaluate=spend)

    model = Runner.model
    model.bbox_head, model.data_preprocessor = Spending(spend, 1), Spending(spend, 1)
    model.extract_feat = spend
    model.predict = lambda seconds: (model.extract_feat(seconds), model.bbox_head(0), spend(2))
    Loop.runner = Runner

    def epoch():
        spend(100)
        model.extract_feat(10)
        Runner.hooks[0].after_train_epoch(Runner)

    found = DividedValidation(Loop, epoch).measure()
    assert {part: seconds for part, seconds in found.items() if seconds} == {
        EPOCH: 110, "BatchNorm's statistics": 5, NETWORK: 7 + 1, BOXES: 2,
    }  # fmt: skip


@pytest.mark.slow
def test_validations_of_both_sides_are_measured(monkeypatch, tmp_path):
    monkeypatch.setattr(pipeline, 'NUM_PHOTOGRAPHS', 5)
    counted = []
    monkeypatch.setattr(Hook, 'after_val', lambda hook, runner: counted.append(type(hook).__name__))
    options = ValidationOptions(
        config='yolov5_n', data=str(pipeline.make_photographs(tmp_path / 'data')), img_size=64, batch_size=2, workers=0,
        cfg_options={'model.widen_factor': 0.125}, runs=2,
    )  # fmt: skip
    said = []
    found = {each.row: each for each in validation.measure(options, said.append)}
    assert said == ['an epoch has 4 images, a validation 1']
    for row in ('validation', 'epoch', 'network', BATCHES, BOXES, 'metrics', 'averaged weights', 'loop', 'checkpoints'):
        assert [*found[row].figures] == ['mmcnn', 'MMDetection YOLOX-tiny'], row
    assert [*found['folding'].figures] == [*found["BatchNorm's statistics"].figures] == ['mmcnn']
    parts = sum(found[part].figures['mmcnn'][1] for part in PARTS if part in found)
    assert parts == pytest.approx(found['validation'].figures['mmcnn'][1])
    # One to warm up and two measured ones of each side, and none when a training ends.
    assert counted.count('IterTimerHook') == 2 * 3
