"""The guard compared with plain PyTorch: only good micro-batches contribute to steps."""

import os
import warnings
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper
from torch import multiprocessing, nn

from mmcnn.engine import step_guard
from mmcnn.engine.step_guard import MAX_OVERFLOWS, StepGuard
from tests.operators import Operators


def make(accumulate=1, stop=False, clip_grad=None):
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    wrapper = OptimWrapper(optimizer, accumulative_counts=accumulate, clip_grad=clip_grad)
    wrapper.initialize_count_status(model, 0, 1000)
    return model, wrapper, StepGuard(wrapper, stop=stop)


def batch(i):
    return torch.rand(4, 3, generator=torch.Generator().manual_seed(i))


def loss_of(model, i):
    return model(batch(i)).square().mean()


def state(model, wrapper):
    momenta = [entry['momentum_buffer'] for entry in wrapper.optimizer.state.values()]
    return [value.clone() for value in (*model.parameters(), *momenta)]


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for one, two in zip(found, expected, strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(
    'clip_grad',
    [
        None,
        {'max_norm': 0.1},
        {'max_norm': 1.3},  # between the norms of these batches
        {'max_norm': 100.0},
        {'max_norm': 0.1, 'norm_type': 1},
        {'max_norm': 0.1, 'norm_type': float('inf'), 'foreach': False},
        {'max_norm': 1.0, 'norm_type': 0},
        {'type': 'value', 'clip_value': 0.01},
    ],
)
@pytest.mark.parametrize('accumulate', [1, 3])
def test_good_losses_step_as_mmengine_does(accumulate, clip_grad):
    model, wrapper, guard = make(accumulate, clip_grad=clip_grad and dict(clip_grad))
    other, plain, _ = make(accumulate, clip_grad=clip_grad and dict(clip_grad))
    stepped = []
    for i in range(7):
        guard.update_params(loss_of(model, i))
        stepped.append(guard.stepped)
        plain.update_params(loss_of(other, i))
        assert guard.refused is None
    assert_equal(state(model, wrapper), state(other, plain))
    assert stepped == [(i + 1) % accumulate == 0 for i in range(7)]
    assert wrapper._inner_count == 7


def test_gradients_that_are_clipped_are_read_once_and_scaled_only_if_they_are_too_long():
    for max_norm, scalings in ((0.01, 1), (100.0, 0)):
        model, wrapper, guard = make(clip_grad=dict(max_norm=max_norm))
        wrapper.optimizer = SimpleNamespace(
            param_groups=wrapper.optimizer.param_groups, step=lambda: None, zero_grad=lambda: None
        )
        loss = loss_of(model, 0)
        with Operators() as operators:
            guard.update_params(loss)
        assert guard.stepped
        counts = [operators.names.count(f'aten::{name}') for name in ('_foreach_norm', '_foreach_mul_', 'sum')]
        assert counts == [1, scalings, 1], operators.names  # the sum is the gradient of the bias


def test_clipping_sees_a_gradient_whose_square_is_infinite_as_mmengine_does():
    results = []
    for guarded in (False, True):
        model, wrapper, guard = make(clip_grad=dict(max_norm=0.1))
        (guard if guarded else wrapper).update_params(model(batch(0)).sum() * 1e30)
        results.append(state(model, wrapper))
    assert guard.stepped
    assert_equal(*results)


def test_a_frozen_weight_with_a_gradient_is_not_clipped():
    results = []
    for guarded in (False, True):
        model, wrapper, guard = make(clip_grad=dict(max_norm=0.1))
        model.bias.requires_grad_(False)
        model.bias.grad = torch.full((1,), 7.0)
        (guard if guarded else wrapper).update_params(loss_of(model, 0))
        results.append(state(model, wrapper))
    assert_equal(*results)


class ClipsEachGroup(OptimWrapper):
    def _clip_grad(self):
        for group in self.optimizer.param_groups:
            self.clip_func(group['params'], **self.clip_grad_kwargs)


def test_a_wrapper_may_clip_its_groups_one_by_one():
    results = []
    for guarded in (False, True):
        model, _, _ = make()
        groups = [dict(params=[each]) for each in model.parameters()]
        wrapper = ClipsEachGroup(torch.optim.SGD(groups, lr=0.1, momentum=0.9), clip_grad=dict(max_norm=0.1))
        (StepGuard(wrapper) if guarded else wrapper).update_params(loss_of(model, 0))
        results.append(state(model, wrapper))
    assert_equal(*results)


def test_clipping_by_a_norm_rejects_bad_gradients_and_logs_none_of_them():
    model, wrapper, guard = make(clip_grad={'max_norm': 0.1})
    wrapper.message_hub = MessageHub.get_instance('rejected')
    before = [parameter.detach().clone() for parameter in model.parameters()]
    model.weight.register_hook(lambda gradient: gradient * float('nan'))
    guard.update_params(loss_of(model, 0))
    guard.read({})
    assert (guard.refused, guard.stepped) == ('gradient', False)
    assert_equal(list(model.parameters()), before)
    assert 'train/grad_norm' not in wrapper.message_hub.log_scalars


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
@pytest.mark.parametrize('position', [0, 1, 2])
def test_a_bad_micro_batch_leaves_the_gradients_of_the_others(bad, position):
    model, wrapper, guard = make(3)
    other, plain, _ = make(1)
    for i in range(3):
        guard.update_params(loss_of(model, i) * (bad if i == position else 1))
        assert guard.refused == ('loss' if i == position else None)
        if i != position:
            (loss_of(other, i) / 3).backward()
    assert guard.stepped
    plain.optimizer.step()
    assert_equal(state(model, wrapper), state(other, plain))
    guard.update_params(loss_of(model, 3))
    assert not guard.stepped and wrapper._inner_count == 4  # the next step starts with zero gradients
    assert torch.allclose(model.weight.grad, torch.autograd.grad(loss_of(model, 3) / 3, model.weight)[0])


def test_only_bad_micro_batches_make_no_step():
    model, wrapper, guard = make(2)
    for i in range(2):
        guard.update_params(loss_of(model, i))
    before = state(model, wrapper)
    for i in range(2):
        guard.update_params(loss_of(model, i) * float('nan'))
        assert (guard.refused, guard.stepped) == ('loss', False)
    assert_equal(state(model, wrapper), before)  # momentum and weight decay would move the weights


def test_a_bad_gradient_of_a_good_loss_drops_the_step():
    model, wrapper, guard = make(2)
    for i in range(2):
        guard.update_params(loss_of(model, i))
    before = state(model, wrapper)
    guard.update_params(loss_of(model, 2))
    # The derivative of the square root at 0 is infinite; multiplied by that of the square, 0, it gives NaN.
    guard.update_params((model(torch.zeros(1, 3)) - model.bias).square().sum().sqrt() + model.bias.sum() * 0)
    assert (guard.refused, guard.stepped) == ('gradient', False)
    assert_equal(state(model, wrapper), before)
    assert model.weight.grad is None
    for i in range(2):
        guard.update_params(loss_of(model, i))
    assert guard.stepped and model.weight.isfinite().all()


def test_a_large_gradient_is_finite():
    model, _, guard = make()
    guard.update_params(model(batch(0)).sum() * 1e30)  # its square is infinite
    assert (guard.refused, guard.stepped) == (None, True)


@pytest.mark.parametrize(
    ('entries', 'refused'),
    [
        ([3e38, 3e38], None),  # their sum is infinite
        ([float('inf'), float('-inf')], 'gradient'),
        ([1.0, float('nan')], 'gradient'),
        ([1.0, float('-inf')], 'gradient'),
    ],
)
def test_a_gradient_is_judged_by_its_entries(entries, refused):
    model, _, guard = make()
    gradient = torch.tensor([[0.0, *entries]])
    model.weight.register_hook(lambda _: gradient)
    guard.update_params(loss_of(model, 0))
    assert guard.refused == refused


@pytest.mark.parametrize('what', ['loss', 'gradient'])
def test_stopping_makes_no_step(what):
    model, wrapper, guard = make(2, stop=True)
    before = state(model, wrapper)
    guard.update_params(loss_of(model, 0))
    zero = (model(torch.zeros(1, 3)) - model.bias).square().sum().sqrt()
    guard.update_params(loss_of(model, 1) * float('nan') if what == 'loss' else zero)
    assert (guard.refused, guard.stepped) == (what, False)
    assert_equal(state(model, wrapper), before)


def test_overflows_under_amp_are_counted_in_a_row():
    _, _, guard = make()
    scales = iter([])
    guard.wrapper.loss_scaler = SimpleNamespace(get_scale=lambda: next(scales), is_enabled=lambda: True)
    bad = [torch.tensor(float('inf'))]
    falling = [2.0**-i for i in range(MAX_OVERFLOWS + 1)]
    scales = iter([*falling[:MAX_OVERFLOWS], *falling])
    assert all(guard._finite(bad) for _ in range(2 * MAX_OVERFLOWS))  # the count restarts when the scale rises
    assert not guard._finite(bad)


def test_an_overflow_under_amp_is_the_scalers_business(monkeypatch):
    """MMEngine's AmpOptimWrapper with PyTorch's scaler for CPUs."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', lambda: torch.amp.GradScaler('cpu'))
    model, _, _ = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    wrapper = amp_optimizer_wrapper.AmpOptimWrapper(optimizer=optimizer, clip_grad=dict(max_norm=1.0))
    guard = StepGuard(wrapper)
    guard.update_params(loss_of(model, 0))
    before, scale = state(model, wrapper), wrapper.loss_scaler.get_scale()
    guard.update_params(loss_of(model, 1) * 1e36)  # finite, but infinite when scaled
    assert (guard.refused, wrapper.loss_scaler.get_scale()) == (None, scale / 2)
    assert_equal(state(model, wrapper), before)
    guard.update_params(loss_of(model, 1) * float('inf'))
    assert guard.refused == 'loss'
    assert_equal(state(model, wrapper), before)


def test_bf16_without_a_scale_is_guarded_as_float32_is(monkeypatch):
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    model, _, _ = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # the scaler warns that there is no CUDA
        wrapper = amp_optimizer_wrapper.AmpOptimWrapper(
            optimizer=optimizer, dtype='bfloat16', loss_scale=dict(enabled=False)
        )
    guard = StepGuard(wrapper)
    guard.update_params(loss_of(model, 0))
    before = state(model, wrapper)
    model.weight.register_hook(lambda gradient: gradient * float('inf'))
    guard.update_params(loss_of(model, 1))
    assert (guard.refused, guard.stepped) == ('gradient', False)
    assert_equal(state(model, wrapper), before)


@pytest.fixture
def on_a_device(monkeypatch):
    """Pretend that reading a number is as expensive as on a GPU."""
    monkeypatch.setattr(step_guard, '_costs_a_wait', lambda tensor: True)


@pytest.mark.parametrize('clip_grad', [None, {'max_norm': 0.1}])
@pytest.mark.parametrize('accumulate', [1, 3])
def test_steps_on_a_device_are_the_same_and_nobody_looks(accumulate, clip_grad, on_a_device):
    model, wrapper, guard = make(accumulate, stop=True, clip_grad=clip_grad and dict(clip_grad))
    other, plain, _ = make(accumulate, clip_grad=clip_grad and dict(clip_grad))
    for i in range(7):
        loss = loss_of(model, i)
        with Operators() as operators:
            guard.update_params(loss)
        # No number is read on the host.
        assert not {'aten::_local_scalar_dense', 'aten::equal'} & {*operators.names}
        found = guard.read(dict(loss=loss, loss_two=loss.double() / 3, note='x', many=torch.ones(2)))
        assert found['loss'] == loss and found['loss_two'].item() == loss.double().item() / 3
        assert found['note'] == 'x' and found['many'].tolist() == [1, 1]
        assert guard.refused is None and guard.stepped == ((i + 1) % accumulate == 0)
        expected = loss_of(other, i)
        plain.update_params(expected)
    assert_equal(state(model, wrapper), state(other, plain))


@pytest.mark.parametrize('what', ['loss', 'gradient'])
def test_a_step_that_nobody_saw_is_refused_when_it_is_read(what, on_a_device):
    model, _, guard = make(2, stop=True)
    guard.update_params(loss_of(model, 0))
    assert guard.read({}) == {} and guard.refused is None
    zero = (model(torch.zeros(1, 3)) - model.bias).square().sum().sqrt()
    loss = loss_of(model, 1) * float('nan') if what == 'loss' else zero
    guard.update_params(loss)
    assert guard.refused is None  # not known yet
    assert guard.read(dict(loss=loss))['loss'].isnan() == (what == 'loss')
    assert guard.refused == what


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_a_batch_that_is_left_out_is_seen_before_the_step(bad, on_a_device):
    model, wrapper, guard = make(1, stop=False)
    guard.update_params(loss_of(model, 0))
    before = state(model, wrapper)
    guard.update_params(loss_of(model, 1) * bad)
    assert (guard.refused, guard.stepped) == ('loss', False)
    assert guard.read(dict(loss=torch.tensor(bad)))['loss'].isfinite().logical_not()
    assert guard.refused == 'loss'
    assert_equal(state(model, wrapper), before)


@pytest.mark.parametrize('device', [False, True])
def test_the_norm_of_clipped_gradients_is_logged_as_mmengine_logs_it(device, monkeypatch):
    monkeypatch.setattr(step_guard, '_costs_a_wait', lambda tensor: device)
    norms = {}
    for name in ('ours', 'theirs'):
        model, wrapper, guard = make(1, stop=True, clip_grad={'max_norm': 0.1})
        wrapper.message_hub = MessageHub.get_instance(f'{name} {device}')
        clip = wrapper.clip_func
        for i in range(3):
            (guard if name == 'ours' else wrapper).update_params(loss_of(model, i))
            if name == 'ours':
                guard.read({})
        assert wrapper.clip_func is clip
        norms[name] = wrapper.message_hub.get_scalar('train/grad_norm').data[0]
    assert norms['ours'].tolist() == norms['theirs'].tolist() and len(norms['ours']) == 3


def _rank(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    model, wrapper, guard = make(2)
    wrapped = nn.parallel.DistributedDataParallel(model)
    refused = []
    for i in range(6):  # rank 1 has bad losses at the start and at the end of a step
        with guard.optim_context(wrapped):
            loss = wrapped(batch(2 * i + rank)).square().mean()
        guard.update_params(loss * (float('nan') if rank and i in (2, 5) else 1))
        refused.append(guard.refused)
    guard.update_params(loss_of(model, 10 + rank))
    guard.average()
    step_guard._costs_a_wait = lambda tensor: True  # in this process
    other, _, guard = make(2, stop=True)
    for bad in (False, True):
        guard.update_params(loss_of(other, 0) * (float('nan') if bad and rank else 1))
        guard.read({})
        refused.append(guard.refused)
    torch.save((refused, state(model, wrapper), model.weight.grad), f'{folder}/{rank}.pt')
    os._exit(0)  # gloo's threads and the interpreter may deadlock at exit


def test_two_ranks_refuse_as_one(tmp_path):
    multiprocessing.start_processes(_rank, (str(tmp_path),), nprocs=2, start_method='fork')
    (refused, first, waiting), second = (torch.load(tmp_path / f'{rank}.pt') for rank in range(2))
    assert refused == second[0] == [None, None, 'loss', None, None, 'loss', None, 'loss']
    assert_equal(first, second[1])
    assert torch.equal(waiting, second[2])
    # Compare with one process that uses the good batches of both ranks.
    model, wrapper, _ = make()
    for i in range(6):
        if i not in (2, 5):
            (sum(loss_of(model, 2 * i + rank) for rank in range(2)) / 4).backward()
        if i % 2:
            wrapper.optimizer.step()
            wrapper.optimizer.zero_grad()
    for found, expected in zip(first, state(model, wrapper), strict=True):
        torch.testing.assert_close(found, expected)
    expected = torch.autograd.grad(sum(loss_of(model, 10 + rank) for rank in range(2)) / 2 / 2, model.weight)[0]
    torch.testing.assert_close(waiting, expected)
