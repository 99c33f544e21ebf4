"""Trainings with a quiet console in separate processes: on a terminal, and with two ranks."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name('quiet_run.py')


@pytest.fixture
def config(trained, shapes, tmp_path):
    """A config file with two epochs of data with one broken image."""
    shutil.copytree(shapes, tmp_path / 'data')
    (tmp_path / 'data' / 'images' / 'train_00003.jpg').write_bytes(b'broken')
    cfg = Config.fromfile(trained.work_dir / 'yolov4_cspdarknet53.py')
    cfg.work_dir = str(tmp_path / 'run')
    cfg.val_evaluator.outfile_prefix = None
    cfg.train_dataloader.dataset.dataset.data_root = str(tmp_path / 'data')
    cfg.train_dataloader.update(num_workers=1, persistent_workers=True)
    cfg.dump(tmp_path / 'config.py')
    return tmp_path / 'config.py'


@pytest.mark.slow
def test_a_training_on_a_terminal(on_terminal, screen, config):
    code, output = on_terminal(PROGRAM, config, width=100)
    assert code == 0, output
    assert 'mmengine' not in output
    frames = re.findall(r'\x1b\[2K(epoch [^\r]*)', output)
    assert any(re.match(r'epoch 2/2  step 1/2  [\d.]+ images/s  ETA \d:\d\d:\d\d  loss ', frame) for frame in frames)
    lines = [line for line in screen(output) if line]
    starts = [line.split()[0] for line in lines if not line.startswith('warning')]
    table = ['epoch', 'all', 'circle', 'square', 'triangle']
    assert starts == [
        'model', 'data', 'device', 'steps', 'log', *table, 'note:', *table, 'files', 'next', 'mmcnn', 'AP', 'AP50'
    ]  # fmt: skip
    (warning,) = [line for line in lines if line.startswith('warning')]
    assert 'cannot use ' in warning and 'train_00003.jpg' in warning


@pytest.mark.slow
def test_a_stopped_training_on_a_terminal(on_terminal, screen, config, tmp_path):
    code, output = on_terminal(PROGRAM, config, '3', width=100)
    assert code == 143, output
    lines = [line for line in screen(output) if line]
    told = ''.join(lines[-3:])  # a terminal wraps long lines
    assert f'stopped by SIGTERM; the last checkpoint, {tmp_path}/run/stopped_at_iter_3.pth, is complete' in told
    assert any(line.endswith('SIGTERM: stopping after this step, with a checkpoint') for line in lines)


@pytest.mark.slow
def test_only_the_first_of_two_ranks_prints(config):
    cfg = Config.fromfile(config)
    cfg.launcher = 'pytorch'
    cfg.train_dataloader.batch_size = 2
    cfg.dump(config)
    result = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2', PROGRAM, config],
        capture_output=True, text=True, env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    lines = result.stdout.splitlines()
    for start in ('model ', 'data ', 'steps ', 'epoch 1/2', 'epoch 2/2', 'epoch 2 ', 'files ', 'AP50 = '):
        assert len([line for line in lines if line.startswith(start)]) == 1, (start, result.stdout)
    assert 'device   cpu, 2 processes' in lines
    assert lines[-1].startswith('AP50 = ')
    assert 'steps    2 epochs x 2 iterations\n' in result.stdout
