"""What a run's Runner does besides MMEngine's."""

import os
import signal

import pytest

from mmcnn.console import Console
from mmcnn.errors import TrainingError
from mmcnn.runs.causes import known_causes
from mmcnn.runs.console_runner import runner_for


def test_the_loaders_of_every_loop_are_guarded(full_shm):
    """An evaluation is told what its data-loading processes died of, too."""
    cfg = dict(dataset=range(50), sampler=dict(type='DefaultSampler', shuffle=False), batch_size=1, num_workers=1)
    loader = runner_for(Console()).build_dataloader(cfg)
    batches = iter(loader)
    with pytest.raises(TrainingError, match=r'^a data-loading process, pid \d+, has died \(Killed\)'), known_causes():
        os.kill(batches._workers[0].pid, signal.SIGKILL)
        list(batches)
    full_shm()
    with pytest.raises(TrainingError, match='processes cannot be started: /dev/shm is full'), known_causes():
        iter(loader)
