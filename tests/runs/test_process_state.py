"""What a run changes in the process is put back."""

import logging
import multiprocessing
import random

import cv2
import mmengine.device.utils as device_utils
import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from mmcnn.runs.process_state import kept_process_state


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
    assert len(handlers) == 1 and handlers[0].stream is None  # closed
    del MMLogger._instance_dict['mine']


def test_names_may_be_used_again(tmp_path):
    for number in range(2):
        with kept_process_state():
            logger = MMLogger.get_instance('same', log_file=str(tmp_path / f'{number}.log'))
            logger.info(f'line {number}')
    assert ['line 0' in (tmp_path / '0.log').read_text(), 'line 1' in (tmp_path / '1.log').read_text()] == [True, True]
    assert 'line 1' not in (tmp_path / '0.log').read_text()
