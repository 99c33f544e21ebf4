"""Every recipe on the simulated device runs without a fault, with the CPU's numbers and within its budget."""

import math

import pytest
import torch
from torch.nn import functional as F

from mmcnn.models.layers import Mish
from tests.cuda_simulation import budgets
from tests.cuda_simulation.recipes import RECIPES, TRAIN_BATCHES, VAL_BATCHES, draw_data, train

#: Largest relative difference of a loss from the CPU's, in float32: before the first step, and after steps, which
#: amplify the rounding of the backward pass (PyTorch uses other formulas there for subclasses of tensors).
TOLERANCE, AFTER_STEPS = 1e-6, 1e-3
#: Largest difference of an AP, as two detections whose scores are equal up to rounding may swap.
AP = 1e-4
#: Largest relative difference of the first loss in half precision.
HALF = 0.05


@pytest.fixture(scope='session')
def data(tmp_path_factory):
    """``data(recipe, batch_size)`` gives a folder of drawn images."""
    folder = tmp_path_factory.mktemp('drawn')
    return lambda recipe, batch_size=4: draw_data(folder, recipe, batch_size)


@pytest.fixture(autouse=True)
def mish_of_a_device(monkeypatch):
    """Both sides compute Mish by PyTorch's kernel: steps amplify the rounding of the CPU's own formulas.

    Those are compared with float64 in tests/models/layers/test_mish.py.
    """
    monkeypatch.setattr(Mish, 'forward', lambda self, x: F.mish(x))


@pytest.fixture
def on_both(simulate, data, tmp_path):
    """``on_both(recipe, ...)`` trains on the CPU and on the device, with the arguments of :func:`train`."""

    def run(recipe, **kwargs):
        folder = data(recipe)
        cpu = train(recipe, folder, tmp_path / 'cpu', **kwargs)
        with simulate() as gpu:
            return cpu, train(recipe, folder, tmp_path / 'gpu', gpu=gpu, **kwargs)

    return run


def close(number, other, share=0.0, tolerance=0.0):
    if math.isnan(number) or math.isnan(other):
        return math.isnan(number) and math.isnan(other)
    return math.isclose(number, other, rel_tol=share, abs_tol=tolerance)


def assert_same(cpu, gpu):
    assert len(cpu.losses) == len(gpu.losses) >= TRAIN_BATCHES
    for i, (ours, theirs) in enumerate(zip(gpu.losses, cpu.losses, strict=True)):
        share = AFTER_STEPS if i else TOLERANCE
        assert ours.keys() == theirs.keys()
        assert all(close(ours[name], theirs[name], share) for name in ours), (i, ours, theirs)
    assert gpu.metrics.keys() == cpu.metrics.keys()
    assert all(close(gpu.metrics[name], cpu.metrics[name], 0, AP) for name in gpu.metrics), (gpu.metrics, cpu.metrics)
    states = [torch.load(each.checkpoint, weights_only=False) for each in (cpu, gpu)]
    assert states[0].keys() == states[1].keys()
    for key in states[0].keys() & {'state_dict', 'ema_state_dict'}:
        theirs, ours = (state[key] for state in states)
        assert ours.keys() == theirs.keys()
        difference = sum((ours[name] - theirs[name]).double().square().sum() for name in theirs).sqrt()
        size = sum(each.double().square().sum() for each in theirs.values()).sqrt()
        assert difference <= AFTER_STEPS * size, f'{key}: {difference / size:.1e}'


def assert_within(training, *case):
    assert len(training.steps) == TRAIN_BATCHES and len(training.predictions) == VAL_BATCHES
    complaints = list(budgets.complaints(budgets.measured(training), budgets.read()[case]))
    assert not complaints, '; '.join([f'{" ".join(map(str, case))}: {complaints}', *where(training)])


def where(training):
    return [record.report(0) for record in (training.steps[-1], training.predictions[-1], training.evaluations[-1])]


@pytest.mark.parametrize(
    'name',
    [pytest.param(name, marks=[pytest.mark.slow] * (name != 'yolov5')) for name in RECIPES],
)
def test_a_training_is_that_of_the_cpu(name, on_both):
    cpu, gpu = on_both(RECIPES[name])
    assert_same(cpu, gpu)
    assert_within(gpu, name, 'fp32', 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'precision', 'batch_size'), [case for case in budgets.cases() if case[1:] != ('fp32', 4)]
)
def test_other_precisions_and_batches(name, precision, batch_size, simulate, data, tmp_path):
    recipe = RECIPES[name]
    with simulate() as gpu:
        training = train(
            recipe, data(recipe, batch_size), tmp_path, precision=precision, batch_size=batch_size, gpu=gpu
        )
    assert all(math.isfinite(each['loss']) for each in training.losses)
    if precision != 'fp32':
        plain = train(recipe, data(recipe), tmp_path / 'plain')
        assert training.losses[0]['loss'] == pytest.approx(plain.losses[0]['loss'], rel=HALF)
        assert training.losses[0]['loss'] != plain.losses[0]['loss']  # half precision was used
    assert_within(training, name, precision, batch_size)


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'precision'), [('yolov4', 'fp32'), ('yolov4', 'bf16'), ('yolov5', 'fp16')])
def test_the_device_draws_the_images(name, precision, simulate, data, tmp_path):
    options = {'train_dataloader.dataset.device_augmentation': True}
    recipe = RECIPES[name]
    cpu = train(recipe, data(recipe), tmp_path / 'cpu', options=options)
    with simulate() as gpu:
        training = train(recipe, data(recipe), tmp_path / 'gpu', precision=precision, gpu=gpu, options=options)
    if precision == 'fp32':
        assert_same(cpu, training)
    else:
        assert training.losses[0]['loss'] == pytest.approx(cpu.losses[0]['loss'], rel=HALF)


@pytest.mark.slow
def test_gradients_that_are_accumulated_and_clipped(on_both):
    options = {'optim_wrapper.accumulative_counts': 2, 'optim_wrapper.clip_grad': {'max_norm': 0.01}}
    assert_same(*on_both(RECIPES['yolov5'], options=options))


@pytest.mark.slow
@pytest.mark.parametrize('precision', ['fp32', 'fp16'])
def test_a_run_that_is_resumed_is_the_whole_one(precision, simulate, data, tmp_path):
    recipe = RECIPES['yolov5']
    with simulate() as gpu:
        common = dict(data=data(recipe), precision=precision, gpu=gpu, epochs=2)
        whole = train(recipe, work_dir=tmp_path / 'whole', **common)
        rest = train(recipe, work_dir=tmp_path / 'rest', resume=tmp_path / 'whole' / 'epoch_1.pth', **common)
    assert len(rest.losses) == TRAIN_BATCHES
    assert [each['loss'] for each in rest.losses] == [each['loss'] for each in whole.losses[TRAIN_BATCHES:]]


@pytest.mark.slow
def test_without_the_operators_of_torchvision(simulate, data, tmp_path):
    recipe = RECIPES['faster_rcnn']
    cpu = train(recipe, data(recipe), tmp_path / 'cpu')
    with simulate(torchvision=False) as gpu:
        training = train(recipe, data(recipe), tmp_path / 'gpu', gpu=gpu)
    assert_same(cpu, training)


@pytest.mark.slow
@pytest.mark.parametrize('name', RECIPES)
def test_a_deterministic_run(name, on_both, monkeypatch):
    """Each operator of a deterministic training has a deterministic kernel."""
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    try:
        assert_same(*on_both(RECIPES[name], options={'randomness.deterministic': True}))
    finally:
        torch.use_deterministic_algorithms(False)
