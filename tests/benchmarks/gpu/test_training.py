import contextlib
import os
import signal
import time
from types import SimpleNamespace

import pytest

from mmcnn.benchmarks.gpu import training
from mmcnn.benchmarks.gpu.measurement import Circumstances, Timer
from mmcnn.errors import StoppedError

HERE = Circumstances(device='cpu', tiny=True, folder='', classes_folder='', workers=0, batch_size=4)


@pytest.mark.parametrize(
    ('seconds', 'each', 'epochs'), [(100, 10, 8), (100, 0.5, 170), (1, 10, 1), (-5, 10, 1), (1e6, 0, 1000)]
)
def test_epochs_that_fit(seconds, each, epochs):
    assert training.epochs_in(seconds, each) == epochs


@pytest.fixture
def runs(monkeypatch):
    """The options given to stand-ins for trainings, which write checkpoints two seconds apart."""
    asked = []

    def run_training(options):
        asked.append(options)
        options.work_dir.mkdir()
        for epoch in (1, 2):
            path = options.work_dir / f'epoch_{epoch}.pth'
            path.touch()
            os.utime(path, (0, 1000 + 2 * epoch))

    scalars = {5: dict(loss=3.0), 9: dict(loss=2.0)}, {1: {'coco/bbox_mAP': 0.25, 'coco/bbox_mAP_50': 0.5}, 2: {}}
    monkeypatch.setattr(training, 'run_training', run_training)
    monkeypatch.setattr(training, 'kept_process_state', contextlib.nullcontext)
    monkeypatch.setattr(training, 'read_scalars', lambda path: scalars)
    return asked


def measured(timer):
    found = {}
    training.measure(HERE, timer, lambda **values: found.update(values), data='demo', config='yolov5_n')
    return found


def test_a_short_run_says_how_many_epochs_there_are(runs):
    found = measured(SimpleNamespace(left=lambda: 100.0))
    assert [(each.config, each.epochs) for each in runs] == [('yolov5_n', 2), ('yolov5_n', 42)]
    assert (found['seconds_of_an_epoch'], found['epochs'], found['ended']) == (2, 42, 'as planned')
    assert found['iterations'] == 9
    assert found['validations'] == [dict(epoch=1, AP=0.25, AP50=0.5), dict(epoch=2, AP=None, AP50=None)]


def test_a_training_that_takes_too_long_is_stopped(runs, monkeypatch):
    run = training.run_training
    heard = []
    before = signal.signal(signal.SIGTERM, lambda signum, frame: heard.append(signum))

    def slow(options):
        run(options)
        if len(runs) == 2:
            end = time.monotonic() + 10
            while not heard and time.monotonic() < end:
                time.sleep(0.01)
            raise StoppedError('stopped', signal.SIGTERM)

    monkeypatch.setattr(training, 'run_training', slow)
    monkeypatch.setattr(training, 'LAST', 0.0)
    try:
        found = measured(Timer(0.5))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
    assert found['ended'] == 'stopped: the minutes were used up' and found['validations'][0]['AP'] == 0.25


@pytest.mark.slow
def test_the_tiny_form(shapes, monkeypatch):
    monkeypatch.setattr(training, 'MOST', 2)
    found = {}
    training.measure(
        HERE, Timer(600), lambda **values: found.update(values), data=str(shapes), config='yolov4_cspdarknet53_narrow'
    )
    assert (found['epochs'], found['ended'], found['img_size']) == (2, 'as planned', 64)
    assert found['seconds_of_an_epoch'] > 0 and found['iterations'] > 0
    assert found['validations'] and all(0 <= each['AP'] <= each['AP50'] <= 1 for each in found['validations'])
