"""Executors with real trainings: a local Ray cluster with a killed worker, and submitit's local executor."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from mmcnn.compare import executors, trainings
from mmcnn.compare.candidates import Candidate
from mmcnn.compare.options import CompareOptions
from mmcnn.config.load import load_config
from mmcnn.errors import UsageError
from mmcnn.runs.run_lock import LOCK

WIDTHS = {'model.neck.widen_factor': 0.125, 'model.neck.deepen_factor': 0.33, 'default_hooks.bn_statistics.windows': 0}


def _needs(package):
    """Skip without the package; importorskip would import it, and submitit would then close this process's handlers."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f'{package} is not installed')


@pytest.fixture
def planned(shapes, tmp_path):
    """``planned(epochs)``: two candidates with one seed."""

    def plan(epochs):
        cfg = load_config('yolov5_n')
        budget = dict(data=str(shapes), img_size=64, batch_size=2, epochs=epochs, amp='off', cfg_options=WIDTHS)
        several = [Candidate(name, widen_factor=0.125) for name in ('vgg11', 'mobilenetv2')]
        return trainings.plan(cfg, several, [(0, None)], tmp_path / 'compared', budget, workers=0, device='cpu')

    return plan


def options(executor, **own):
    return CompareOptions(
        config='yolov5_n', backbones=['vgg11', 'mobilenetv2'], executor=executor, executor_options=own
    )


def kill_worker(run, killed):
    """Kill the process that started a training as soon as the first checkpoint exists."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (run.folder / 'last_checkpoint').is_file() and (run.folder / LOCK).is_file():
            pid = json.loads((run.folder / LOCK).read_text())['pid']
            worker = psutil.Process(pid).parent()
            killed.append(worker.pid)
            os.kill(worker.pid, signal.SIGKILL)
            return
        time.sleep(0.05)


@pytest.mark.slow
def test_ray_goes_on_with_the_training_of_a_worker_that_is_killed(planned, tmp_path, monkeypatch, capsys):
    _needs('ray')
    monkeypatch.setenv('RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO', '0')
    runs, killed = planned(6), []
    thread = threading.Thread(target=kill_worker, args=(runs[0], killed))
    thread.start()
    executors.run_trainings(runs, options('ray', num_cpus=1), tmp_path / 'compared')
    thread.join()
    assert killed and not psutil.pid_exists(killed[0])
    for run in runs:
        assert run.result() is not None, run.record()
        assert max(run.curve()) == 6
    assert 'continuing from' in (runs[0].folder / trainings.OUTPUT).read_text()
    assert 'vgg11, seed 0: AP50 = ' in capsys.readouterr().out


@pytest.mark.slow
def test_submitit_leaves_the_log_files_of_the_process_open(tmp_path):
    _needs('submitit')
    program = f"""
import logging, os, sys
handler = logging.FileHandler({str(tmp_path / 'log')!r}, mode='w')
from mmcnn.compare import executors
assert 'submitit' not in sys.modules
executors._installed_submitit()
assert 'submitit' in sys.modules and 'SUBMITIT_LOG_LEVEL' not in os.environ
handler.emit(logging.makeLogRecord(dict(msg='still open')))
"""
    subprocess.run([sys.executable, '-c', program], check=True)
    assert (tmp_path / 'log').read_text() == 'still open\n'


@pytest.mark.slow
def test_jobs_of_submitit(planned, tmp_path, capsys):
    _needs('submitit')
    runs = planned(1)
    executors.run_trainings(runs, options('slurm', cluster='local', timeout_min=10), tmp_path / 'compared')
    assert all(run.result() is not None for run in runs)
    assert (tmp_path / 'compared' / executors.JOBS).is_dir()
    executors.run_trainings(runs, options('slurm', cluster='local'), tmp_path / 'compared')
    assert '2 of 2 trainings are already finished' in capsys.readouterr().out


def test_a_preempted_job_is_submitted_again(planned):
    _needs('submitit')
    executors._installed_submitit()
    task = executors.Task(planned(1)[0], 3)
    again = task.checkpoint()
    assert again.function is task and again.args == ()


def test_what_is_not_installed_is_named(planned, tmp_path, monkeypatch):
    monkeypatch.setattr('builtins.__import__', _without('ray', __import__))
    with pytest.raises(UsageError, match=r"executor=ray needs ray: pip install 'mmcnn\[compare\]'"):
        executors.run_trainings(planned(1), options('ray'), tmp_path)


def _without(package, original):
    def load(name, *args, **kwargs):
        if name == package:
            raise ImportError(name)
        return original(name, *args, **kwargs)

    return load
