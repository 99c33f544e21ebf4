"""A stopped run of release 0.1.0: its checkpoint infers, tests and resumes as in that release.

tests/data/run_of_0.1.0 was written by commit e08decb with the options below. It has the checkpoint that was saved on
SIGTERM after iteration 4 of 9 (inside the second epoch, between two batches of one optimizer step), the final weights
after that release resumed from it in float64 (tests/double_precision.py explains why), the checkpoint's detections in
the validation images, and the metrics of tools/test.py.
"""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmcnn.inference.detector import Detector

FOLDER = Path(__file__).parent / 'data' / 'run_of_0.1.0'
CHECKPOINT = FOLDER / 'stopped_at_iter_4.pth'
EXPECTED = json.loads((FOLDER / 'expected.json').read_text())
TRAINING = [
    '--img-size', 64, '--batch-size', 4, '--workers', 0, '--device', 'cpu', '--epochs', 3, '--seed', 3,
    '--cfg-options', 'model.widen_factor=0.0625', 'model.deepen_factor=0.1', 'optim_wrapper.accumulative_counts=2',
    'default_hooks.checkpoint.max_keep_ckpts=1',
]  # fmt: skip


@pytest.fixture
def data(tmp_path):
    return Path(shutil.copytree(FOLDER / 'data', tmp_path / 'data'))


def test_it_detects_the_same():
    detector = Detector(CHECKPOINT, device='cpu', score_thr=0.0)
    assert detector.classes == ('circle', 'square', 'triangle')
    for name, expected in EXPECTED['detections'].items():
        found = detector(FOLDER / 'data' / 'images' / name)
        best = np.array([row[:4] for row in expected])
        # An untrained network has nearly equal scores, so the order may change.
        for box in best:
            assert np.abs(found.boxes - box).max(axis=1).min() < 0.01
        np.testing.assert_allclose(found.scores[: len(best)], [row[4] for row in expected], atol=1e-4)


def test_it_tests_the_same(run_tool, data, tmp_path):
    result = run_tool(
        'test', CHECKPOINT, '--data', data, '--work-dir', tmp_path / 'test', '--workers', 0, '--device', 'cpu'
    )
    assert result.code == 0, result.err
    metrics = json.loads((tmp_path / 'test' / 'metrics.json').read_text())
    for key, value in EXPECTED['metrics'].items():
        assert metrics[key] == pytest.approx(value, abs=1e-3), key


@pytest.mark.slow
def test_it_resumes_to_the_same_end(in_double, data, tmp_path):
    options = ['--data', data, '--work-dir', tmp_path / 'run', '--resume', CHECKPOINT, *TRAINING]
    code = f"""{in_double.prelude}
from mmcnn.cli.main import main
main({['train', 'yolov4_cspdarknet53', *map(str, options)]})
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (log,) = (tmp_path / 'run').rglob('scalars.json')
    first = json.loads(log.read_text().splitlines()[0])
    for name, value in EXPECTED['losses_after_the_resume'].items():
        assert first[name] == pytest.approx(value, rel=1e-6), name
    # At the start of the run, the distance is 0.19.
    assert in_double.distance(tmp_path / 'run' / 'epoch_3.pth', FOLDER / 'end.safetensors') < 1e-6


@pytest.mark.parametrize(
    ('module', 'name'),
    [
        ('mmcnn.models.wiring', 'wire'),
        ('mmcnn.models.wiring', 'swap_backbone'),
        ('mmcnn.models.dense_heads.yolo_head', 'YOLOHead'),
        ('mmcnn.models', 'losses'),
        ('mmcnn.evaluation', 'CocoMetric'),
        ('mmcnn.visualization', 'draw_boxes'),
        ('mmcnn.engine.loops', 'ResumableTrainLoop'),
        ('mmcnn.engine.loops.resumable_train_loop', 'ResumableTrainLoop'),
        ('mmcnn.weights', 'CheckpointError'),
        ('mmcnn.weights.checkpoint', 'read_checkpoint'),
        ('mmcnn.datasets', 'check_data'),
        ('mmcnn.datasets.coco_folder', 'DataError'),
        ('mmcnn.inference.detector', 'Detector'),
        ('mmcnn.inference.detector', 'Detections'),
    ],
)
def test_what_was_imported_still_is(module, name):
    importlib.import_module('mmcnn.models.losses')
    assert hasattr(importlib.import_module(module), name)
