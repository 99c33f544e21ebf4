"""Single operators on the simulated device: whether the host waits, and whether a real device would refuse them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.cuda_simulation.device import DeviceMixError
from tests.cuda_simulation.operators import NONDETERMINISTIC


def on_device():
    return torch.arange(12.0).view(3, 4).to('cuda')


def pinned(x):
    return torch.zeros(3, 4).pin_memory()


WAITS = {
    'item': (lambda x: x[0, 0].item(), 1),
    'float': (lambda x: float(x[0, 0]), 1),
    'bool': (lambda x: bool((x > 0).all()), 1),
    'slice by a number of the device': (lambda x: x[: x[0, 1].long()], 1),
    'tolist': (lambda x: x.tolist(), 1),
    'repr': (repr, 1),
    'format of a number': (lambda x: f'{x[0, 0]:.1f}', 1),
    'to the host': (lambda x: x.cpu(), 1),
    'to the host, not waiting': (lambda x: x.to('cpu', non_blocking=True), 0),
    'into pageable memory, not waiting': (lambda x: torch.zeros(3, 4).copy_(x, non_blocking=True), 1),
    'into pinned memory, not waiting': (lambda x: pinned(x).copy_(x, non_blocking=True), 0),
    'to the device': (lambda x: torch.zeros(3).to('cuda'), 1),
    'to the device, pinned': (lambda x: pinned(x).to('cuda'), 1),
    'to the device, pinned, not waiting': (lambda x: pinned(x)[1:].to('cuda', non_blocking=True), 0),
    'to the device, not waiting': (lambda x: torch.zeros(3).to('cuda', non_blocking=True), 0),
    'cuda': (lambda x: torch.zeros(3).cuda(), 1),
    'nothing to the device': (lambda x: torch.zeros(0).to('cuda'), 0),
    'to where it is': (lambda x: x.to('cuda'), 0),
    'tensor': (lambda x: torch.tensor([1.0, 2.0], device='cuda'), 1),
    'new_tensor': (lambda x: x.new_tensor([1.0, 2.0]), 1),
    'new_zeros': (lambda x: x.new_zeros(2), 0),
    'arange': (lambda x: torch.arange(3, device=x.device), 0),
    'index by a list': (lambda x: x[[2, 1, 0]], 1),
    'index by an index of the host': (lambda x: x[torch.tensor([2, 1])], 1),
    'index by an index of the device': (lambda x: x[x[:, 0].long().clamp(max=2)], 0),
    'index by numbers': (lambda x: x[1, 2], 0),
    'mask': (lambda x: x[x > 3], 1),
    'number by a mask': (lambda x: x.clone().__setitem__(x > 3, 0), 0),
    'tensor by a mask': (lambda x: x.clone().__setitem__(x > 3, x[0, 0]), 1),
    'where': (lambda x: torch.where(x > 3, x, 0.0), 0),
    'masked_fill': (lambda x: x.masked_fill(x > 3, 0.0), 0),
    'nonzero': (lambda x: x.nonzero(), 1),
    'where of one': (lambda x: torch.where(x > 3), 1),
    'masked_select': (lambda x: x.masked_select(x > 3), 1),
    'unique': (lambda x: x.unique(), 1),
    'equal': (lambda x: torch.equal(x, x), 1),
    'bincount': (lambda x: x[0].long().bincount(), 1),
    'repeat_interleave': (lambda x: x.repeat_interleave(x[:, 0].long(), dim=0), 1),
    'repeat_interleave of a size': (lambda x: x.repeat_interleave(x[:, 0].long(), dim=0, output_size=12), 0),
    'one_hot of a size': (lambda x: F.one_hot(x[0].long(), 4), 0),
    'sort': (lambda x: x.sort(), 0),
    'topk': (lambda x: x.topk(2), 0),
    'synchronize': (lambda x: torch.cuda.synchronize(), 1),
    'clip': (lambda x: nn.utils.clip_grad_norm_([grown(x)], 1.0), 0),
}


def grown(x):
    parameter = nn.Parameter(x.clone())
    parameter.grad = torch.ones_like(x)
    return parameter


@pytest.mark.parametrize('name', WAITS)
def test_the_host_waits(name, simulate):
    action, expected = WAITS[name]
    with simulate() as gpu:
        x = on_device()
        with gpu.recorded() as record:
            action(x)
    assert record.waits.total() == expected, record.report()
    assert all('test_operators.py' in where for _, where in record.waits)
    assert record.pageable.total() == (name == 'to the device, not waiting')
    assert record.overlapped.total() == ('not waiting' in name and 'pageable' not in name and not record.pageable)


MIXES = {
    'sum with a vector': lambda x: x + torch.ones(4),
    'product of matrices': lambda x: x @ torch.ones(4, 2),
    'layer': lambda x: nn.Linear(4, 2)(x),
    'concatenation': lambda x: torch.cat([x, torch.ones(1, 4)]),
    'list of tensors': lambda x: torch._foreach_add([x], [torch.ones(3, 4)]),
    'into the host': lambda x: torch.ones(3, 4).add_(x),
    'value of a row': lambda x: x.index_put((torch.zeros(1, dtype=torch.long),), torch.ones(1, 4)),
    'index of an index_select': lambda x: x.index_select(0, torch.tensor([0])),
    'target of a loss': lambda x: F.cross_entropy(x, torch.tensor([0, 1, 2])),
}


@pytest.mark.parametrize('name', MIXES)
def test_devices_are_not_mixed(name, simulate):
    with simulate() as gpu:
        x = on_device()
        with pytest.raises(DeviceMixError, match=r'be on the same device.* at .*test_operators'):
            MIXES[name](x)
        assert gpu.record.faults.total() == 1


@pytest.mark.parametrize(
    'action',
    [
        lambda x: x + torch.tensor(1.0),
        lambda x: torch.tensor(2.0) * x,
        lambda x: x.clamp(min=torch.tensor(1.0)),
        lambda x: torch.where(x > 1, x, torch.tensor(0.0)),
        lambda x: x.lerp(x + 1, 0.5),
    ],
)
def test_a_number_of_the_host_may_be_among_them(action, simulate):
    with simulate() as gpu:
        assert action(on_device()).is_cuda
        assert not gpu.record.faults


def test_faults_are_noted_where_the_simulation_is_to_go_on(simulate):
    with simulate(strict=False) as gpu:
        assert (on_device() + torch.ones(4)).tolist() == (torch.arange(12.0).view(3, 4) + 1).tolist()
        assert gpu.record.faults.total() == 1
        assert 'faults: 1' in gpu.record.report()


@pytest.mark.parametrize('convert', [lambda x: x.numpy(), lambda x: __import__('numpy').asarray(x)])
def test_numpy_gets_no_tensor_of_the_device(convert, simulate):
    with simulate():
        x = on_device()
        with pytest.raises(TypeError, match=r'Use Tensor\.cpu'):
            convert(x)


def pooled(x):
    x = x[None, None].requires_grad_()
    F.adaptive_avg_pool2d(x, 2).sum().backward()


DETERMINISM = {
    'adaptive_avg_pool2d_backward_cuda': pooled,
    'cumsum_cuda_kernel': lambda x: x.cumsum(0),
    'grid_sampler_2d_backward_cuda': lambda x: (
        F.grid_sample(x[None, None].requires_grad_(), x.new_zeros(1, 2, 2, 2), align_corners=False).sum().backward()
    ),
    'CUBLAS_WORKSPACE_CONFIG': lambda x: x @ x.T,
}


@pytest.mark.parametrize('name', DETERMINISM)
def test_what_has_no_deterministic_kernel_is_refused(name, simulate, monkeypatch):
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG', raising=False)
    with simulate():
        x = on_device()
        DETERMINISM[name](x)
        torch.use_deterministic_algorithms(True)
        try:
            with pytest.raises(RuntimeError, match=name):
                DETERMINISM[name](x)
        finally:
            torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(
    'action', [lambda x: x.long().cumsum(0), lambda x: x @ x.T, lambda x: x.index_add(0, x[:, 0].long() // 4, x)]
)
def test_what_has_one_is_not(action, simulate, monkeypatch):
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    with simulate():
        x = on_device()
        torch.use_deterministic_algorithms(True)
        try:
            action(x)
        finally:
            torch.use_deterministic_algorithms(False)


def test_the_table_names_operators_that_there_are():
    for name in NONDETERMINISTIC:
        namespace, _, operator = name.rpartition('::')
        assert namespace == 'torchvision' or hasattr(torch.ops.aten, operator), name


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_autocast_has_the_rules_of_cuda(dtype, simulate):
    with simulate():
        x = on_device()
        with torch.autocast('cuda', dtype=dtype):
            assert (x @ x.T).dtype == dtype
            assert (x @ x.T).softmax(1).dtype == torch.float32
            with pytest.raises(RuntimeError, match='unsafe to autocast'):
                F.binary_cross_entropy(x.sigmoid(), x.sigmoid())
        with pytest.raises(RuntimeError, match='dtype'):
            x @ x.T.to(dtype)


def test_kernels_are_counted_and_views_are_not(simulate):
    with simulate(by_line=True) as gpu:
        x = on_device()
        with gpu.recorded() as record:
            x.view(4, 3).T[1:].unsqueeze(0)
            torch.empty(3, device='cuda')
            assert not record.kernels
            (x + 1).relu_()
    assert record.kernels.total() == 2
    assert all('test_operators.py' in where for where in record.kernels)


def test_what_a_copy_and_a_file_hold(simulate, tmp_path):
    with simulate():
        layer = nn.Linear(2, 2).to('cuda')
        assert layer.weight.is_cuda and isinstance(layer.weight, nn.Parameter)
        torch.save(layer.state_dict(), tmp_path / 'layer.pth')
        assert torch.load(tmp_path / 'layer.pth')['weight'].is_cuda
        assert not torch.load(tmp_path / 'layer.pth', map_location='cpu')['weight'].is_cuda
        values = layer.weight.cpu()
    assert torch.load(tmp_path / 'layer.pth')['weight'].equal(values)


def test_only_one_is_open_and_it_leaves_everything_as_it_was(simulate):
    before = torch.cuda.is_available, torch.load, torch.Tensor.to, torch.accelerator.is_available
    with simulate(), pytest.raises(RuntimeError, match='open already'):
        simulate().__enter__()
    assert before == (torch.cuda.is_available, torch.load, torch.Tensor.to, torch.accelerator.is_available)
    with simulate():
        x = on_device()
    with pytest.raises(RuntimeError, match='is over'):
        x + 1
