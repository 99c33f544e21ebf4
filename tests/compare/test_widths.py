"""Widths at which backbones have equal multiply-adds."""

import pytest

from mmcnn.compare.candidates import Candidate
from mmcnn.compare.network import multiply_adds
from mmcnn.compare.widths import fitted_width, set_width
from mmcnn.config.load import load_config
from mmcnn.errors import UsageError

SIZE = (64, 64)


@pytest.mark.parametrize(
    'name', ['vgg16-bn', *(pytest.param(name, marks=pytest.mark.slow) for name in ('mobilenetv2-tv', 'darknet53'))]
)
def test_detectors_come_within_a_tenth(name):
    cfg = Candidate(name).config(load_config('yolov5_n'))
    width = fitted_width(cfg, 27e6, SIZE)
    assert width.multiply_adds == pytest.approx(27e6, rel=0.1)
    set_width(cfg, width.factor)
    assert multiply_adds(cfg, SIZE) == width.multiply_adds


def test_published_network_keeps_its_width():
    """YOLOv5n needs 4.5 GFLOPs at 640 px, two per multiply-add (YOLOv5 v7.0, README)."""
    cfg = load_config('yolov5_n')
    assert multiply_adds(cfg, (640, 640)) == pytest.approx(4.5e9 / 2, rel=0.03)


def test_numbers_out_of_reach_are_named():
    cfg = Candidate('vgg16-bn').config(load_config('yolov5_n'))
    with pytest.raises(UsageError, match=r'backbone=vgg16-bn: no width .* 0.001 G .* nearest is 0\.0'):
        fitted_width(cfg, 1e6, SIZE)
