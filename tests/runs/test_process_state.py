"""Changes that a run makes to the process are undone."""

import logging
import multiprocessing
import os
import random
import signal
import sys
import threading
from types import SimpleNamespace

import cv2
import mmengine.device.utils as device_utils
import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.utils import ManagerMixin
from mmengine.visualization import Visualizer

import mmcnn
from mmcnn.errors import MmcnnError, UsageError
from mmcnn.runs import process_state
from mmcnn.runs.process_state import kept_process_state

CONFIG = 'yolov4_cspdarknet53'
TINY = {'model.widen_factor': 0.0625, 'model.deepen_factor': 0.33, 'model.test_cfg.score_thr': 0.0}
SMALL = dict(img_size=64, batch_size=4, workers=1, device='cpu', epochs=1)


def change_everything(folder):
    MMLogger.get_instance('run', log_file=str(folder / 'run.log'))
    MessageHub.get_instance('run').update_info('epoch', 3)
    Visualizer.get_instance('run', vis_backends=[dict(type='LocalVisBackend')], save_dir=str(folder))
    DefaultScope.get_instance('run', scope_name='mmdet')
    device_utils.DEVICE = 'cuda'
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    torch.backends.cudnn.benchmark = torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True)
    cv2.setNumThreads(0)
    multiprocessing.set_start_method('spawn', force=True)


def state():
    return (
        device_utils.DEVICE, random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(),
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic,
        torch.are_deterministic_algorithms_enabled(), cv2.getNumThreads(),
        multiprocessing.get_start_method(allow_none=True),
        [list(kind._instance_dict) for kind in (MMLogger, MessageHub, Visualizer, DefaultScope)],
    )  # fmt: skip


@pytest.mark.parametrize('error', [None, ValueError('the run fails')])
def test_everything_is_as_it_was(tmp_path, error):
    cv2.setNumThreads(2)
    mine = MMLogger.get_instance('mine')
    before = state()
    try:
        with kept_process_state():
            assert not MMLogger._instance_dict  # a run with this name would log to that file
            change_everything(tmp_path)
            handlers = [h for h in MMLogger.get_instance('run').handlers if isinstance(h, logging.FileHandler)]
            if error:
                raise error
    except ValueError as raised:
        assert raised is error
    assert state() == before
    assert MMLogger.get_instance('mine') is mine
    assert len(handlers) == 1 and handlers[0].stream is None  # it is closed
    del MMLogger._instance_dict['mine']


def test_names_may_be_used_again(tmp_path):
    for number in range(2):
        with kept_process_state():
            logger = MMLogger.get_instance('same', log_file=str(tmp_path / f'{number}.log'))
            logger.info(f'line {number}')
    assert ['line 0' in (tmp_path / '0.log').read_text(), 'line 1' in (tmp_path / '1.log').read_text()] == [True, True]
    assert 'line 1' not in (tmp_path / '0.log').read_text()


def managers(cls=ManagerMixin):
    return {cls.__name__: dict(getattr(cls, '_instance_dict', {}))} | {
        name: found for below in cls.__subclasses__() for name, found in managers(below).items()
    }


def snapshot():
    """Return everything that a user or the next run could notice of a finished run."""
    return dict(
        environment=dict(os.environ),
        path=[*sys.path],
        folder=os.getcwd(),
        handlers={number: signal.getsignal(number) for number in signal.valid_signals()},
        files=sorted(os.readlink(f'/proc/self/fd/{number}') for number in open_files()),
        threads={thread.name for thread in threading.enumerate()},
        children=[child.pid for child in multiprocessing.active_children()],
        managers=managers(),
        random=(random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()),
        group=torch.distributed.is_initialized(),
        streams=(sys.stdout, sys.stderr),
        rest=(device_utils.DEVICE, cv2.getNumThreads(), multiprocessing.get_start_method(allow_none=True)),
        loggers={name: [*logging.getLogger(name).handlers] for name in ('', 'mmengine', 'mmdet', 'mmcnn')},
    )


def open_files():
    """Return the numbers of open files except for the one that lists them."""
    return [name for name in os.listdir('/proc/self/fd') if os.path.lexists(f'/proc/self/fd/{name}')]


@pytest.fixture(scope='module')
def warm(shapes, tmp_path_factory):
    """Trigger everything that is loaded once per process."""
    folder = tmp_path_factory.mktemp('warm')
    mmcnn.train(CONFIG, data=shapes, work_dir=folder / 'run', cfg_options=TINY, **SMALL)


@pytest.mark.slow
@pytest.mark.parametrize('fails', [False, True])
def test_a_real_run_leaves_no_trace(warm, shapes, tmp_path, fails):
    options = TINY | ({'optim_wrapper.optimizer.lr': 1e30, 'custom_hooks.0.warmup_max_fraction': 0} if fails else {})
    before, failed = snapshot(), False
    try:
        mmcnn.train(CONFIG, data=shapes, work_dir=tmp_path / 'run', cfg_options=options, **SMALL | dict(epochs=2))
    except MmcnnError as error:
        failed = 'is not finite' in str(error)
    assert failed is fails
    assert (tmp_path / 'run').is_dir()
    after = snapshot()
    for name, value in before.items():
        assert after[name] == value, name


def test_environment_and_path(monkeypatch):
    monkeypatch.setenv('MINE', 'before')
    before = dict(os.environ), [*sys.path]
    with kept_process_state():
        os.environ.update(MINE='changed', OF_THE_RUN='1')
        del os.environ['HOME']
        sys.path.insert(0, 'of the run')
    assert (dict(os.environ), sys.path) == before


def test_the_process_group_of_a_run_is_left(tmp_path):
    def join(name):
        torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path / name}', rank=0, world_size=1)

    with kept_process_state():
        join('of the run')
        with kept_process_state():
            pass
        assert torch.distributed.is_initialized()
    assert not torch.distributed.is_initialized()
    join('mine')
    with kept_process_state():
        pass
    assert torch.distributed.is_initialized()
    torch.distributed.destroy_process_group()


class Cuda(SimpleNamespace):
    """The parts of torch.cuda that are restored."""

    device, states, started = 0, [b'fresh', b'fresh'], False

    def is_initialized(self):
        return self.started

    def current_device(self):
        return self.device

    def get_rng_state_all(self):
        return [*self.states]

    def set_device(self, device):
        self.device, self.started = device, True

    def manual_seed_all(self, seed):
        self.states = [seed] * 2

    def set_rng_state_all(self, states):
        self.states[: len(states)] = states


@pytest.mark.parametrize('started', [False, True])
def test_cuda_device_and_generators(monkeypatch, started):
    cuda = Cuda()
    monkeypatch.setattr(process_state.torch, 'cuda', cuda)
    torch.random.default_generator.manual_seed(7)
    if started:
        cuda.set_device(1)
    with kept_process_state():
        cuda.set_device(0)
        torch.random.default_generator.manual_seed(8)
        cuda.states = ['drawn', 'from']
    # CUDA starts with PyTorch's seed on all devices.
    assert (cuda.device, cuda.states) == ((1, [b'fresh', b'fresh']) if started else (0, [7, 7]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_generators_of_a_real_gpu():
    torch.cuda.init()
    before = torch.cuda.get_rng_state_all()
    with kept_process_state():
        torch.cuda.manual_seed_all(1)
    assert all(map(torch.equal, torch.cuda.get_rng_state_all(), before))


def test_a_second_run_of_the_process_is_refused(shapes, tmp_path):
    inside, over, found = threading.Event(), threading.Event(), []

    def run():
        with kept_process_state(), kept_process_state():  # parts of a run may nest it
            logger = MMLogger.get_instance('of this run')
            inside.set()
            over.wait(60)
            found.append(MMLogger._instance_dict.get('of this run') is logger)

    thread = threading.Thread(target=run)
    thread.start()
    assert inside.wait(60)
    try:
        with pytest.raises(UsageError, match=r'another thread .* start this run in a separate process'):
            mmcnn.train(CONFIG, data=shapes, work_dir=tmp_path / 'run', cfg_options=TINY, **SMALL)
        assert not (tmp_path / 'run').exists()
    finally:
        over.set()
        thread.join()
    assert found == [True]
    with kept_process_state():  # and it works again afterwards
        pass
