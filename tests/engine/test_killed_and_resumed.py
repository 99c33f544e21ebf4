"""Runs killed by SIGKILL at random moments, even while saving, end with the same bits as an uninterrupted run."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mmcnn.datasets.folders.shapes import make_shapes

PROGRAM = Path(__file__).with_name('killed_runs.py')
ROOT = PROGRAM.parents[2]


@pytest.fixture
def run(tmp_path):
    """Run the program in a folder and return what it prints."""

    def call(command, *numbers):
        data = make_shapes(tmp_path / 'data', num_train=18, num_val=4, size=64)
        folder = tmp_path / 'runs'
        folder.mkdir()
        result = subprocess.run(
            [sys.executable, PROGRAM, command, data, folder, *map(str, numbers)],
            env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'),
            capture_output=True, text=True,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr[-4000:]
        return json.loads(result.stdout.splitlines()[-1])

    return call


def check_campaign(result, kills):
    assert len(result['moments']) == kills
    check_digests(result)


def check_digests(result):
    whole = result['digests'].pop('whole')
    assert result['digests']
    for name, found in result['digests'].items():
        assert found == whole, name


@pytest.mark.slow
def test_two_kills_leave_the_bits(run):
    check_campaign(run('campaign', 2, 2, 2), 2)


@pytest.mark.campaign
@pytest.mark.parametrize('workers', [0, 2])
def test_fifty_kills_leave_the_bits(run, workers, capsys):
    result = run('campaign', workers, 50, 100 + workers)
    with capsys.disabled():
        print(f'\n{workers} workers, {len(result["digests"]) - 1} runs, killed at {result["moments"]}')
    check_campaign(result, 50)


@pytest.mark.parametrize(
    'case',
    [
        pytest.param('faster_rcnn', marks=pytest.mark.slow),
        pytest.param('yolov4_drawn_by_the_device', marks=pytest.mark.campaign),
    ],
)
def test_other_detectors_that_end_inside_an_epoch_leave_the_bits(run, case):
    result = run('inside', case)
    # Five batches per epoch: SIGTERM keeps the three of epoch 2, SIGKILL does not.
    assert result['left'] == dict(stopped='stopped_at_iter_8.pth', killed='epoch_1.pth')
    assert ('ema_state_dict' in result['digests']['whole']) == case.startswith('yolo')
    check_digests(result)


@pytest.mark.slow
def test_two_ranks_stop_and_die_together(run):
    result = run('ranks')
    assert result['whole'][0] == result['resumed'][0] == [0, 0]
    # Only one rank got SIGTERM, but both stop after the same step.
    assert result['stopped'][0] == [143, 143]
    # Steps of two batches, averaged weights and BatchNorm of each rank are as in an uninterrupted run.
    check_digests(result)
    for rank in range(2):
        codes, seconds = result[f'killed_{rank}']
        assert result[f'resumed_{rank}'][0] == [0, 0]
        assert codes[rank] == -signal.SIGKILL and codes[1 - rank] == 1
        assert seconds < 15
        cause = f'rank {rank} has died: it was killed, most often because memory was full, or its machine is gone'
        assert result['said'][f'killed_{rank}.{1 - rank}.txt'] == f'error: {cause}; rank {1 - rank} ends with it'
