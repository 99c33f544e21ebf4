import pytest

from mmcnn.benchmarks.gpu import measurement
from mmcnn.benchmarks.gpu.measurement import Circumstances, Timer


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(measurement.time, 'monotonic', lambda: now[0])
    return now


def test_seconds_that_are_left(clock):
    timer = Timer(30)
    clock[0] += 12
    assert (timer.seconds, timer.left()) == (30, 18)
    clock[0] += 20
    assert timer.left() == -2


@pytest.mark.parametrize(('tiny', 'seconds', 'left'), [(False, 30, 30), (True, 30, 5), (True, 3, 3)])
def test_the_tiny_form_takes_little_time_for_speeds(clock, tiny, seconds, left):
    here = Circumstances(device='cpu', tiny=tiny, folder='', classes_folder='', workers=0)
    assert here.timer_of_speed(Timer(seconds)).left() == left
