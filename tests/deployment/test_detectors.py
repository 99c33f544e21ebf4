"""The post-processing in a detector's config, and the settings that are refused because a file cannot apply them."""

import copy
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.models.dense_heads import YOLOV3Head
from mmengine.config import ConfigDict

from mmcnn.deployment.check import _compare_fit
from mmcnn.deployment.detectors import fit_of
from mmcnn.deployment.detectors import test_cfg_of as cfg_of
from mmcnn.deployment.networks import exportable
from mmcnn.deployment.options import ExportOptions
from mmcnn.deployment.plan import plan_export
from mmcnn.deployment.reference import reference
from mmcnn.errors import UsageError
from mmcnn.models.dense_heads import YOLOHead

YOLOV3 = dict(
    nms_pre=1000, min_bbox_size=0, score_thr=0.05, conf_thr=0.005, nms=dict(type='nms', iou_threshold=0.45),
    max_per_img=100,
)  # fmt: skip
NARROW = {
    'model.backbone.widen_factor': 0.125,
    'model.rpn_head.feat_channels': 16,
    'model.roi_head.bbox_head.fc_out_channels': 16,
    'model.test_cfg.rpn.max_per_img': 20,
}


def detector(test_cfg, kind=YOLOV3Head):
    """Return a stand-in for a detector that only has a head."""
    head = kind.__new__(kind)
    torch.nn.Module.__init__(head)
    head.test_cfg = ConfigDict(test_cfg)
    return SimpleNamespace(bbox_head=head)


def test_of_mmdetections_yolov3_head():
    assert cfg_of(detector(YOLOV3)) == dict(
        score_thr=0.0, nms=dict(type='nms', iou_threshold=0.45), nms_pre=1000, max_per_img=100, multi_label=True
    )


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(nms=dict(type='nms', iou_threshold=0.45, class_agnostic=True)), 'test_cfg.nms has class_agnostic, which'),
        (dict(nms=dict(type='soft_nms', iou_threshold=0.45)), "nms.type='soft_nms' cannot be exported; iou, nms, "),
        (dict(nms=dict(type='nms')), 'has no iou_threshold'),
        (dict(nms=dict(type='nms', iou_thr=0.45)), 'has no iou_threshold'),
        (dict(min_bbox_size=40), 'test_cfg.min_bbox_size=40 cannot be exported'),
    ],
)
def test_a_step_that_a_file_does_not_take_is_refused_in_every_form(changes, message):
    with pytest.raises(UsageError, match=message):
        cfg_of(detector(YOLOV3 | changes))


def test_a_score_that_no_detection_has():
    ours = dict(score_thr=-0.1, nms=dict(type='iou', iou_threshold=0.6), nms_pre=9, max_per_img=8, multi_label=True)
    with pytest.raises(UsageError, match=r'test_cfg\.score_thr=-0\.1 must be between 0 and 1'):
        cfg_of(detector(ours, YOLOHead))


@pytest.mark.parametrize('kind', ['iou', 'greedy_diou', 'diou'])
def test_our_kinds_of_nms_are_read(kind):
    test_cfg = dict(score_thr=0.001, nms=dict(type=kind, iou_threshold=0.6), nms_pre=9, max_per_img=8, multi_label=True)
    assert cfg_of(detector(test_cfg, YOLOHead)) == test_cfg


def test_a_lower_score_is_pytorchs_too():
    """Otherwise, there would be nothing to compare with the additional detections of a lower threshold."""
    options = dict(source='faster_rcnn_vgg16', cfg_options=NARROW, classes='a,b,c', img_size=64)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    found = exportable(ExportOptions(**options), lambda line: None)
    torch.nn.init.constant_(found.network.roi_head.bbox_head.fc_cls.weight, 0.0)
    found.network.roi_head.bbox_head.fc_cls.bias.data = torch.tensor([0.0, -1.0, -1.0, 4.0])  # background last
    counts = {}
    for score_thr in (None, 0.01):
        plan = plan_export(found, ExportOptions(**options, score_thr=score_thr))
        assert plan.metadata().test_cfg['score_thr'] == (score_thr or 0.05)
        counts[score_thr] = len(reference(plan, image))
    assert counts[None] == 0 < counts[0.01]  # the first class has a score of 0.017


@pytest.mark.parametrize('source', ['yolov5_n', 'yolov3_darknet53'])
def test_a_score_of_a_single_stage_detector(source):
    narrow = {'model.backbone.widen_factor': 0.125}
    options = ExportOptions(source=source, cfg_options=narrow, form='nms', score_thr=0.0005, img_size=64)
    plan = plan_export(exportable(options, lambda line: None), options)
    assert plan.metadata().test_cfg['score_thr'] == plan.module.inner.nms.settings.score_thr == 0.0005
    head = plan.found.network.bbox_head
    assert head.test_cfg['score_thr'] == (0.0005 if isinstance(head, YOLOHead) else 0.05)


@pytest.fixture(scope='module')
def faster_rcnn():
    options = ExportOptions(source='faster_rcnn_vgg16', cfg_options=NARROW, classes='a,b,c')
    return exportable(options, lambda line: None)


@pytest.mark.parametrize(
    ('divisor', 'dynamic', 'stride', 'said'),
    [
        (32, 'all', 32, None),
        (1, 'all', 32, 'multiple of 32, which a file needs, but by PyTorch not at all .pad_size_divisor=1.'),
        (48, 'all', 96, 'multiple of 96, which a file needs, but by PyTorch only to the next multiple of 48'),
        (1, 'none', 32, 'padded to 64 x 64 px, but by PyTorch not at all: .* differ slightly$'),
        (32, 'none', 32, 'only to the next multiple of 32: .* differ slightly; dynamic=all pads as PyTorch does$'),
    ],
)
def test_padding_that_is_not_pytorchs_is_said(divisor, dynamic, stride, said, faster_rcnn, monkeypatch):
    config, network = copy.deepcopy(faster_rcnn.config), faster_rcnn.network
    config.model.data_preprocessor.pad_size_divisor = divisor
    monkeypatch.setattr(network.data_preprocessor, 'pad_size_divisor', divisor)
    found = replace(faster_rcnn, config=config, fit=fit_of(config, faster_rcnn.image))
    options = ExportOptions(source=found.name, dynamic=dynamic, img_size=None if dynamic == 'all' else 64)
    plan = plan_export(found, options)
    assert plan.found.fit.stride == stride
    assert len(plan.padding) == (said is not None)
    assert all(re.search(said, sentence) for sentence in plan.padding)
    images = [np.random.default_rng(0).integers(0, 256, (50, 71, 3), np.uint8)]
    _compare_fit(plan, images)  # the file's input equals the pipeline's, up to that padding
    assert network.data_preprocessor.pad_size_divisor == divisor
