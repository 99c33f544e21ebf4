from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mmcnn.datasets import DarknetHSV, RandomHSV
from mmcnn.datasets.transforms.random_hsv import gain_tables, map_hsv


@pytest.fixture
def draws(monkeypatch):
    """Make np.random.uniform return the queued values, one per call."""
    queue = []
    monkeypatch.setattr(np.random, 'uniform', lambda *args, **kwargs: queue.pop(0))
    return queue


def apply(transform, bgr):
    return transform({'img': np.full((2, 3, 3), bgr, np.uint8)})['img'][0, 0].tolist()


@pytest.mark.parametrize(
    ('gains', 'unit', 'bgr', 'expected'),
    [
        ((0, 0, 0.4), (0, 0, -1), (0, 0, 200), (0, 0, 120)),  # V 200 -> 120
        ((0, 0, 0.4), (0, 0, 1), (0, 0, 200), (0, 0, 255)),  # V 280, clipped
        ((0, 1, 0), (0, -1, 0), (100, 100, 200), (200, 200, 200)),  # S -> 0
        ((0, 1, 0), (0, 1, 0), (50, 50, 200), (0, 0, 200)),  # S 191 -> 382, clipped
        ((0.5, 0, 0), (1, 0, 0), (255, 0, 0), (0, 0, 255)),  # H 120 -> 180, wraps to 0: blue becomes red
        ((0.5, 0, 0), (-1, 0, 0), (255, 0, 0), (0, 255, 0)),  # H 120 -> 60: green
        ((0.015, 0, 0), (1, 0, 0), (0, 255, 0), (0, 255, 0)),  # H 60.9, truncated to 60
    ],
)
def test_multiplicative_gains(draws, gains, unit, bgr, expected):
    draws.append(np.array(unit, float))
    assert apply(RandomHSV(*gains), bgr) == list(expected)


def every_hsv():
    """All hues, many saturations and values, as BGR (H, W, 3)."""
    hues, saturations, values = np.meshgrid(np.arange(180), np.arange(0, 256, 5), np.arange(0, 256, 5))
    return cv2.cvtColor(
        np.dstack([hues.ravel(), saturations.ravel(), values.ravel()]).astype(np.uint8), cv2.COLOR_HSV2BGR
    )


@pytest.mark.parametrize('unit', [(0, 0, 0), (1, 1, 1), (-1, -1, -1), (1, -1, 0.3), (-0.4, 0.7, -0.2)])
@pytest.mark.parametrize('hue_gain', [0.015, 0.4])
def test_factors_say_what_the_tables_say(draws, unit, hue_gain):
    draws.append(np.array(unit, float))
    plan = SimpleNamespace()
    RandomHSV(hue_gain).change(plan)
    image = every_hsv()
    looked_up = map_hsv(image, gain_tables(plan.gains)).astype(int)
    multiplied = map_hsv(image, None, plan.gains).astype(int)
    off = np.abs(looked_up - multiplied)
    assert off.mean() < 0.2 and np.quantile(off, 0.999) <= 9  # where a hue differs by one of its 180 steps


def test_a_hue_that_does_not_fit_eight_bits_is_looked_up(draws):
    for hue, fits in ((0.42, True), (0.43, False)):  # 179 * 1.43 is more than 255
        draws.append(np.array([1.0, 0, 0]))
        plan = SimpleNamespace(colours=None, gains=None)
        RandomHSV(hue).change(plan)
        assert (plan.gains is not None) == fits != (plan.colours is not None)


def test_gains_are_spread_over_their_range():
    np.random.seed(0)
    values = [apply(RandomHSV(0, 0, 0.4), (0, 0, 100))[2] for _ in range(500)]
    assert min(values) in (60, 61)
    assert max(values) in (138, 139)
    assert abs(np.mean(values) - 99.5) < 2


def test_without_gain_only_the_8_bit_round_trip_is_left():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    expected = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), cv2.COLOR_HSV2BGR)
    out = RandomHSV(0, 0, 0)({'img': image.copy()})['img']
    assert (out == expected).all()
    assert out.shape == image.shape
    assert out.dtype == np.uint8


@pytest.mark.parametrize(
    ('sequence', 'bgr', 'expected'),
    [
        ([0.1, 1.0, 0.9, 1.0, 0.9], (0, 0, 255), (0, 144, 255)),  # H 0 + 17.9 -> 17, 34 degrees: G = 255 * 34 / 60
        ([-0.1, 1.0, 0.9, 1.0, 0.9], (0, 0, 255), (153, 0, 255)),  # H -17.9 -> 162, 324 degrees: B = 255 * 36 / 60
        ([0.0, 1.0, 0.9, 1.5, 0.1], (0, 0, 100), (0, 0, 150)),  # V x 1.5
        ([0.0, 1.0, 0.9, 1.5, 0.9], (0, 0, 150), (0, 0, 100)),  # V / 1.5
        ([0.0, 1.5, 0.1, 1.0, 0.9], (100, 100, 200), (50, 50, 200)),  # S 128 -> 192: (1 - 192 / 255) * 200
    ],
)
def test_darknet_form(draws, sequence, bgr, expected):
    draws.extend(sequence)
    assert apply(DarknetHSV(), bgr) == pytest.approx(expected, abs=1.5)
    assert not draws


def test_darknet_factor_goes_both_ways():
    np.random.seed(0)
    values = np.array([apply(DarknetHSV(0, 1, 1.5), (0, 0, 120))[2] for _ in range(500)])
    assert values.min() in (80, 81)
    assert values.max() in (178, 179, 180)
    assert 0.4 < np.mean(values >= 120) < 0.6


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match=r'saturation_gain is 1\.5'):
        RandomHSV(saturation_gain=1.5)
    with pytest.raises(ValueError, match='hue is -1'):
        DarknetHSV(hue=-1)
    with pytest.raises(ValueError, match=r'exposure is 0\.5'):
        DarknetHSV(exposure=0.5)
