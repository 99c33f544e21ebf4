"""Small whole runs on the simulated device, and faults that are planted in them."""

import contextlib

import pytest
import torch
from torch import Tensor

from mmcnn.recipes import StepEMAHook
from mmcnn.runs.process_state import kept_process_state
from tests.cuda_simulation.device import DeviceMixError


@pytest.fixture
def trained(make_runner, simulate, tmp_path):
    """``trained(device, name)`` trains with averaged weights and gives the final state dict and the simulation."""

    def run(device, name, **kwargs):
        with kept_process_state(), contextlib.ExitStack() as stack:
            gpu = stack.enter_context(simulate()) if device == 'cuda' else None
            runner = make_runner(tmp_path / name, accumulate=1, **kwargs)
            assert next(runner.model.parameters()).device.type == device
            runner.train()
            state = {key: value.cpu() for key, value in runner.model.state_dict().items()}
        return state, gpu

    return run


def test_a_run_and_its_resumption_are_those_of_the_cpu(trained, tmp_path):
    whole, _ = trained('cpu', 'cpu')
    found, gpu = trained('cuda', 'gpu')
    assert all(torch.allclose(found[name], whole[name], rtol=1e-6, atol=1e-7) for name in whole)
    assert not gpu.record.faults
    trained('cuda', 'half', epochs=1)
    resumed, _ = trained('cuda', 'half', resume=tmp_path / 'half' / 'epoch_1.pth')
    assert all(torch.equal(resumed[name], found[name]) for name in whole)


def test_a_state_that_is_resumed_on_the_wrong_device(trained, tmp_path, monkeypatch):
    trained('cuda', 'run', epochs=1)
    load = torch.optim.SGD.load_state_dict

    def load_wrongly(optimizer, state):
        load(optimizer, state)
        for values in optimizer.state.values():
            values.update({name: value.cpu() for name, value in values.items() if isinstance(value, Tensor)})

    monkeypatch.setattr(torch.optim.SGD, 'load_state_dict', load_wrongly)
    with pytest.raises(DeviceMixError, match=r'_foreach_add_\.List'):
        trained('cuda', 'run', resume=tmp_path / 'run' / 'epoch_1.pth')


def test_averaged_weights_on_the_cpu(trained, monkeypatch):
    _, clean = trained('cuda', 'clean', epochs=1)
    update = StepEMAHook.after_train_iter

    def update_on_cpu(hook, runner, *args, **kwargs):
        for parameter in runner.model.parameters():
            parameter.detach().cpu()
        update(hook, runner, *args, **kwargs)

    monkeypatch.setattr(StepEMAHook, 'after_train_iter', update_on_cpu)
    _, faulty = trained('cuda', 'faulty', epochs=1)
    assert faulty.record.waits.total() >= clean.record.waits.total() + 5 * 4  # iterations, parameters
