"""Tracing a detector's detections is refused; a traced backbone or detector's maps are right at other sizes."""

from functools import partial

import pytest
import torch
from mmdet.structures import DetDataSample

from mmcnn.compat import traced_predict
from mmcnn.config.load import load_config
from mmcnn.errors import UsageError
from mmcnn.registry import MODELS

SMALL = dict(widen_factor=0.0625, deepen_factor=0.33)
#: Config of one detector of each kind -> its backbone, and the head that refuses.
DETECTORS = {
    'yolov3_darknet53': ('darknet53', 'YOLOV3Head'),
    'yolov4_cspdarknet53_darknet': ('cspdarknet53', 'YOLOHead'),
    'yolov5_n': ('cspdarknet-n', 'YOLOHead'),
    'faster_rcnn_vovnet39': ('vovnet27-slim', 'RPNHead'),
}


def build(config):
    backbone, _ = DETECTORS[config]
    model = load_config(config).model
    model.backbone = dict(model.backbone, type=f'mmcnn.{backbone}', init_cfg=None, **SMALL)
    return MODELS.build({'_scope_': 'mmdet', **model}).eval().requires_grad_(False)


def samples(size=64):
    return [DetDataSample(metainfo=dict(img_shape=(size, size), ori_shape=(size, size), scale_factor=(1.0, 1.0)))]


@pytest.mark.parametrize('config', DETECTORS)
def test_traced_detections_are_refused(config):
    detector = build(config)
    images = torch.rand(1, 3, 64, 64)
    for detect in (detector.predict, partial(detector, mode='predict')):
        assert detect(images, samples())[0].pred_instances.bboxes.shape[1] == 4  # without tracing
        with pytest.raises(UsageError, match=f'of {DETECTORS[config][1]} cannot be traced.*`mmcnn export`'):
            torch.jit.trace(lambda x, detect=detect: detect(x, samples())[0].pred_instances.bboxes, images)


def test_maps_of_a_traced_detector_are_right_for_another_image():
    detector = build('yolov5_n')
    traced = torch.jit.trace(lambda images: tuple(detector(images)[0]), torch.rand(1, 3, 64, 64), check_trace=False)
    images = torch.rand(3, 3, 96, 128)
    for mine, other in zip(detector(images)[0], traced(images), strict=True):
        torch.testing.assert_close(mine, other)


def test_repeating_it_changes_nothing():
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead

    once = BaseDenseHead.predict
    traced_predict.install()
    assert BaseDenseHead.predict is once
