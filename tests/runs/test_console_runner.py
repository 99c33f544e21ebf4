"""What a run's Runner adds to MMEngine's."""

import os
import signal

import pytest
import torch
from mmengine.config import Config
from mmengine.visualization.vis_backend import BaseVisBackend

from mmcnn.console import Console
from mmcnn.errors import MmcnnError, TrainingError
from mmcnn.runs.causes import known_causes
from mmcnn.runs.console_runner import runner_for
from mmcnn.runs.process_state import kept_process_state


def test_the_loaders_of_every_loop_are_guarded(full_shm):
    """An evaluation, too, reports why data-loading processes died."""
    cfg = dict(dataset=range(50), sampler=dict(type='DefaultSampler', shuffle=False), batch_size=1, num_workers=1)
    loader = runner_for(Console()).build_dataloader(cfg)
    batches = iter(loader)
    with pytest.raises(TrainingError, match=r'^a data-loading process, pid \d+, has died \(Killed\)'), known_causes():
        os.kill(batches._workers[0].pid, signal.SIGKILL)
        list(batches)
    full_shm()
    with pytest.raises(TrainingError, match='processes cannot be started: /dev/shm is full'), known_causes():
        iter(loader)


def test_text_of_the_config_is_formatted_once(tmp_path, monkeypatch):
    texts, original = [], Config.pretty_text.fget
    monkeypatch.setattr(Config, 'pretty_text', property(lambda cfg: texts.append(original(cfg)) or texts[-1]))
    entries = dict(model=torch.nn.Linear(1, 1), work_dir=str(tmp_path / 'run'), default_scope='mmcnn')
    with kept_process_state():
        runner = runner_for(Console()).from_cfg(Config(entries))
        assert [runner.cfg.pretty_text for _ in range(3)] == 3 * texts  # as for three checkpoints
        assert len(texts) == 1
        runner_for(Console()).from_cfg(entries)  # MMEngine also takes a dict


class Tracker(BaseVisBackend):
    """A library that needs something when it is first used."""

    reason: Exception | None = None

    @property
    def experiment(self):
        if self.reason is not None:
            raise self.reason
        return self

    def _init_env(self):
        raise NotImplementedError


@pytest.mark.parametrize(
    ('reason', 'said'),
    [
        (RuntimeError('no API key.\nhttps://...'), r'^mine cannot start: no API key; choose another logger, or none$'),
        (KeyError(), '^mine cannot start: KeyError;'),
        (TrainingError('of our own'), '^of our own$'),
    ],
)
def test_a_logger_that_cannot_start_says_so_in_a_sentence(monkeypatch, tmp_path, reason, said):
    monkeypatch.setattr(Tracker, 'reason', reason)
    runner = object.__new__(runner_for(Console()))
    vars(runner).update(_rank=0, _experiment_name=str(tmp_path), _log_dir=str(tmp_path))
    node = dict(type='Visualizer', vis_backends=[dict(type=Tracker, name='mine')])
    with kept_process_state(), pytest.raises(MmcnnError, match=said):
        runner.build_visualizer(node)
