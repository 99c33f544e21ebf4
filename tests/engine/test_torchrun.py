"""Two ranks started by torchrun: whichever process dies, all end soon and report why."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mmcnn.datasets.folders.shapes import make_shapes

ROOT = Path(__file__).resolve().parents[2]
MARK = 'MMCNN_TEST_RUN'
ARGUMENTS = (
    'yolov4_cspdarknet53 --launcher pytorch --device cpu --img-size 64 --batch-size 4 --workers 1 --epochs 300 '
    '--cfg-options model.widen_factor=0.0625 model.deepen_factor=0.33 train_cfg.val_interval=300 '
    'default_hooks.logger.interval=1'
)
SECONDS = 15


class Run:
    """A training of two ranks."""

    def __init__(self, folder):
        data = make_shapes(folder / 'data', num_train=18, num_val=4, size=64)
        self.work_dir, self._output, self._mark = folder / 'run', folder / 'output.txt', str(folder)
        launcher = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2']
        with self._output.open('w') as output:
            self.agent = subprocess.Popen(
                [*launcher, ROOT / 'tools/train.py', *ARGUMENTS.split(), '--data', data, '--work-dir', self.work_dir],
                env=os.environ | {'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', MARK: self._mark},
                stdout=output, stderr=subprocess.STDOUT, cwd=folder,
            )  # fmt: skip

    def wait_for_the_second_epoch(self):
        deadline = time.monotonic() + 120
        while 'epoch 2/300  step 2/' not in self.said():
            assert self.agent.poll() is None and time.monotonic() < deadline, self.said()[-3000:]
            time.sleep(0.02)

    def said(self):
        return self._output.read_text()

    def processes(self):
        """Return process id -> parent's id for all processes of this run that have not ended."""
        found = {}
        for folder in Path('/proc').glob('[0-9]*'):
            try:
                state, parent = (folder / 'stat').read_text().rpartition(')')[2].split()[:2]
                if state != 'Z' and f'{MARK}={self._mark}' in (folder / 'environ').read_text().split('\0'):
                    found[int(folder.name)] = int(parent)
            except OSError:  # it has just ended, or belongs to another user
                continue
        return found

    def rank_and_worker(self, rank):
        """Return the process ids of a rank and its data-loading process."""
        processes = self.processes()
        for pid, parent in processes.items():
            variables = Path(f'/proc/{pid}/environ').read_text().split('\0')
            if parent == self.agent.pid and f'RANK={rank}' in variables:
                return pid, next(child for child, parent in processes.items() if parent == pid)
        raise AssertionError(processes)

    def end(self):
        """Wait until all processes have ended and return their output."""
        start = time.monotonic()
        while self.processes():
            assert time.monotonic() - start < SECONDS, (self.processes(), self.said()[-3000:])
            self.agent.poll()
            time.sleep(0.05)
        assert self.agent.wait() != 0
        return self.said()


@pytest.fixture
def started(tmp_path):
    """A training in its second epoch."""
    run = Run(tmp_path)
    try:
        run.wait_for_the_second_epoch()
        yield run
    finally:
        for pid in run.processes():
            os.kill(pid, signal.SIGKILL)
        run.agent.wait()


def assert_whole(path):
    assert torch.load(path, weights_only=True)['state_dict']


@pytest.mark.parametrize('rank', [pytest.param(0, marks=pytest.mark.campaign), pytest.param(1, marks=pytest.mark.slow)])
def test_a_killed_rank_is_named(started, rank):
    os.kill(started.rank_and_worker(rank)[0], signal.SIGKILL)
    said = started.end()
    cause = f'rank {rank} has died: it was killed, most often because memory was full, or its machine is gone'
    assert [line for line in said.splitlines() if 'error: ' in line] == [
        f'error: {cause}; rank {1 - rank} ends with it'
    ]
    assert_whole(started.work_dir / 'epoch_1.pth')


@pytest.mark.slow
def test_a_killed_worker_is_named(started):
    worker = started.rank_and_worker(1)[1]
    os.kill(worker, signal.SIGKILL)
    said = started.end()
    assert f'error: a data-loading process, pid {worker}, has died' in said
    assert re.search(r'rank \d has died', said) is None
    assert_whole(started.work_dir / 'epoch_1.pth')


@pytest.mark.slow
def test_sigterm_stops_with_a_checkpoint(started):
    started.agent.terminate()
    said = started.end()
    assert 'stopped by SIGTERM; the last checkpoint' in said
    assert 'has died' not in said and 'error: ' not in said
    assert_whole(started.work_dir / (started.work_dir / 'last_checkpoint').read_text())


#: Trains twice and evaluates on both ranks; each rank writes its results to a file.
PROGRAM = """
import glob, json, os, sys, threading
import torch
import mmcnn

tiny = {'model.widen_factor': 0.0625, 'model.deepen_factor': 0.33, 'model.test_cfg.score_thr': 0.0}
options = dict(data=sys.argv[1], img_size=64, batch_size=4, workers=0, device='cpu', launcher='pytorch')
results = []
for folder in ('first', 'second'):
    result = mmcnn.train('yolov4_cspdarknet53', epochs=1, work_dir=os.path.abspath(folder), cfg_options=tiny, **options)
    threads = [open(file).read().strip() for file in glob.glob('/proc/self/task/*/comm')]
    threads += [thread.name for thread in threading.enumerate()]
    left = [torch.distributed.is_initialized(), *(name for name in threads if 'gloo' in name or 'mmcnn' in name)]
    results.append([str(result.best), str(result.last), result.metrics, left])
json.dump(results, open(f'rank_{os.environ["RANK"]}.json', 'w'))
"""


@pytest.mark.slow
def test_every_rank_is_given_the_same(shapes, tmp_path):
    (tmp_path / 'program.py').write_text(PROGRAM)
    launcher = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2']
    launcher += ['--tee', '2', '--log-dir', 'logs']  # one file per rank for stderr
    result = subprocess.run(
        [*launcher, 'program.py', shapes], cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env=os.environ | {'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'PYTHONFAULTHANDLER': '1'},
    )  # fmt: skip
    said = [f'{file}:\n{file.read_text()[-5000:]}' for file in sorted((tmp_path / 'logs').rglob('stderr.log'))]
    assert result.returncode == 0, '\n'.join([*said, result.stderr[-3000:]])
    first, second = (json.loads((tmp_path / f'rank_{rank}.json').read_text()) for rank in range(2))
    assert first == second
    assert [each[:2] for each in first] == [
        [f'{tmp_path}/{folder}/best.pth', f'{tmp_path}/{folder}/last.pth'] for folder in ('first', 'second')
    ]
    assert all(left == [False] for *_, left in first + second)
    assert result.stdout.count('AP50 = ') == 2  # the second rank prints nothing
