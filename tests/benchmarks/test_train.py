import re
import shlex
import sys

import pytest
from mmengine.config import Config

from mmcnn.benchmarks import pipeline, train
from mmcnn.benchmarks.options import TrainBenchmarkOptions
from mmcnn.datasets.check.detector import check_data
from mmcnn.models.wiring import set_num_classes

#: A training that keeps the processor busy for 10 ms per epoch and prints its epochs.
EPOCHS = """
import time
for epoch in range(99):
    end = time.process_time() + 0.01
    while time.process_time() < end:
        pass
    print('epoch', epoch, flush=True)
"""
OTHER = shlex.join([f'other={sys.executable}', '-c', EPOCHS])


@pytest.mark.parametrize(
    ('line', 'ends'),
    [
        ('epoch 1/30  step 13/13  110.5 images/s  ETA 0:01:11  loss 9.1', True),
        ('epoch 1/30  step 10/13  110.5 images/s  ETA 0:01:11  loss 9.1', False),
        ('epoch 1/30  step 1/13  110.5 images/s', False),
        ('epoch 3      AP   AP50', False),
    ],
)
def test_our_epochs_end_with_their_last_step(line, ends):
    assert bool(re.search(train.OUR_EPOCH, line)) is ends


@pytest.mark.parametrize(
    ('line', 'ends'),
    [
        ('11/27 03:00:00 - mmengine - INFO - Epoch(train)  [1][ 8/8]  base_lr: 1e-2', True),
        ('11/27 03:00:00 - mmengine - INFO - Epoch(train) [ 12][13/13]  base_lr: 1e-2', True),
        ('11/27 03:00:00 - mmengine - INFO - Epoch(train) [1][10/13]  base_lr: 1e-2', False),
        ('11/27 03:00:00 - mmengine - INFO - Epoch(val) [1][13/13]', False),
    ],
)
def test_mmengines_epochs_end_with_their_last_step(line, ends):
    assert bool(re.search(train.MMENGINE_EPOCH, line)) is ends


@pytest.mark.slow
def test_epochs_of_all_sides_are_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, 'NUM_PHOTOGRAPHS', 5)
    options = TrainBenchmarkOptions(
        cfg_options={'model.widen_factor': 0.125}, img_size=64, batch_size=2, runs=1, peers=[OTHER]
    )
    said = []
    (found,) = train.measure(options, said.append)
    assert [*found.figures] == ['mmcnn', 'mmcnn, --amp', 'MMDetection YOLOX-tiny', 'other']
    assert found.peers == {'MMDetection YOLOX-tiny', 'other'} and found.more_is_better
    factor = float(re.search(r'has ([\d.]+) times the multiply-adds', said[0])[1])
    assert factor > 5  # ours has an eighth of YOLOv5n's width
    rates = {name: values[0] / (factor if 'YOLOX' in name else 1) for name, values in found.figures.items()}
    assert all(0 < rate < 10_000 for rate in rates.values()), rates


@pytest.mark.slow
def test_both_networks_are_counted_with_the_classes_that_they_are_trained_on(tmp_path):
    options = TrainBenchmarkOptions(config='yolov5_n', img_size=64)
    (tmp_path / 'out').mkdir()
    data = check_data(pipeline.make_photographs(tmp_path / 'data')).usable()
    assert len(data.classes) == 1
    path, scale = train.yolox(options, data, 1, tmp_path / 'out')
    ours = train.wired_config(options)
    set_num_classes(ours.model, 1)
    assert scale == train.multiply_adds(Config.fromfile(path), 64) / train.multiply_adds(ours, 64)


def test_multiply_adds_are_those_of_the_detector():
    """By its authors' table, YOLOv5n with its head has 4.5 GFLOPs at 640 px, two per multiply-add."""
    options = TrainBenchmarkOptions(config='yolov5_n')
    assert train.multiply_adds(train.wired_config(options), 64) / (64 / 640) ** 2 == pytest.approx(2.25e9, rel=0.03)
