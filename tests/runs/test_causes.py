"""Errors of PyTorch and MMEngine, as those of mmcnn."""

import os
import signal

import pytest
from torch.utils.data import DataLoader

from mmcnn.errors import StoppedError, TrainingError
from mmcnn.runs.causes import known_causes


def test_data_loading_processes_that_cannot_start_or_have_died(full_shm):
    """Outside of a training loop, which explains its own."""
    loader = DataLoader(range(50), num_workers=1, multiprocessing_context='fork')
    batches = iter(loader)
    os.kill(batches._workers[0].pid, signal.SIGKILL)
    with pytest.raises(TrainingError, match=r'^a data-loading process, pid \d+, has died'), known_causes():
        list(batches)
    full_shm()
    with pytest.raises(TrainingError, match='processes cannot be started: /dev/shm is full'), known_causes():
        iter(loader)


def test_the_end_after_a_signal_is_an_error_of_its_own():
    with pytest.raises(StoppedError, match='stopped by SIGTERM; the last one') as error, known_causes():
        raise SystemExit(143) from StoppedError('stopped by SIGTERM; the last one is whole', 15)
    assert (error.value.signum, error.value.exit_code) == (15, 143)
    with pytest.raises(StoppedError, match=r'^stopped by SIGINT$'), known_causes():
        raise SystemExit(130)


@pytest.mark.parametrize('error', [ValueError('a bug'), RuntimeError('a bug'), OSError('a bug')])
def test_faults_of_the_program_stay_what_they_are(error):
    with pytest.raises(type(error), match=r'^a bug$'), known_causes():
        raise error
