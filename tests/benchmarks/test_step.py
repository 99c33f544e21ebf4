import pytest

from mmcnn.benchmarks import pipeline, step, trainings
from mmcnn.benchmarks.options import StepOptions
from mmcnn.benchmarks.step_parts import PARTS, DividedTrainLoop
from mmcnn.runs import precision
from mmcnn.runs.process_state import kept_process_state


def seconds(**given):
    return {part: given.get(part, 0.0) for part in PARTS}


ROUNDS = {
    'mmcnn': [seconds(network=0.8, loader=0.15, loop=0.05), seconds(network=0.6, loader=0.3, loop=0.1)],
    'MMDetection YOLOX-tiny': [seconds(network=1.0, loader=0.4, loop=0.0), seconds(network=1.0, loader=0.8, loop=0.2)],
}


def test_the_parts_add_up_to_the_step_and_to_what_is_not_the_network():
    found = {each.row: each for each in step.comparisons(ROUNDS)}
    ours = {row: each.figures['mmcnn'] for row, each in found.items() if 'mmcnn' in each.figures}
    assert ours['step'] == pytest.approx([1000, 1000])
    assert ours['not the network'] == pytest.approx([200, 400])
    assert ours['not the network, share'] == pytest.approx([20, 40])
    assert ours['loader'] == pytest.approx([150, 300])
    assert found['not the network'].ratio('mmcnn').median == pytest.approx((200 / 400 + 400 / 1000) / 2)
    assert found['not the network, share'].unit == '%' and found['step'].unit == 'ms'


def test_a_part_that_a_side_does_not_always_have_has_no_ratio():
    found = {each.row: each for each in step.comparisons(ROUNDS)}
    assert [*found['loop'].figures] == ['mmcnn'] and found['loop'].best_peer is None
    assert 'step guard' not in found


def test_shares_are_listed_the_largest_first():
    assert step.shares(ROUNDS['mmcnn']) == 'of a step, network 70.0 %, loader 22.5 %, loop 7.5 %'


@pytest.mark.parametrize(('amp', 'wrapper'), [('off', 'OptimWrapper'), ('bf16', 'mmcnn.BFloat16OptimWrapper')])
def test_ours_is_in_the_precision_asked_for_whatever_the_config_prefers(monkeypatch, tmp_path, amp, wrapper):
    monkeypatch.setattr(precision, 'cpu_features', lambda: ['AVX512-BF16'])
    monkeypatch.setattr(pipeline, 'NUM_PHOTOGRAPHS', 5)
    options = StepOptions(config='yolov5_n', img_size=64, batch_size=2, amp=amp)
    with pipeline.data_folder(None) as data, kept_process_state():
        runner = trainings.our_training(options, data, tmp_path, DividedTrainLoop, epochs=1, validates=False)
    assert runner.cfg.performance.cpu_amp
    assert runner.cfg.optim_wrapper.type == wrapper


@pytest.mark.slow
def test_steps_of_both_sides_are_measured(monkeypatch):
    monkeypatch.setattr(pipeline, 'NUM_PHOTOGRAPHS', 5)
    options = StepOptions(cfg_options={'model.widen_factor': 0.125}, img_size=64, batch_size=2, runs=1, steps=2)
    said = []
    found = {each.row: each for each in step.measure(options, said.append)}
    assert [text.partition(':')[0] for text in said] == ['mmcnn', 'MMDetection YOLOX-tiny']
    both = (
        'step',
        'network',
        'loader',
        'loss',
        'backward of the loss',
        'optimizer, clipping',
        'moving average',
        'loop',
    )
    for row in both:
        assert [*found[row].figures] == ['mmcnn', 'MMDetection YOLOX-tiny'], row
        assert found[row].best_peer == 'MMDetection YOLOX-tiny' and found[row].ratio('mmcnn').median > 0
    assert [*found['step guard'].figures] == ['mmcnn']
    parts = sum(found[part].figures['mmcnn'][0] for part in PARTS)
    assert parts == pytest.approx(found['step'].figures['mmcnn'][0])
