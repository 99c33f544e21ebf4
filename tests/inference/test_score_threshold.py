"""Restricting NMS to boxes above a score leaves those boxes the same in every detector."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.registry import DefaultScope

from mmcnn.config.load import load_config
from mmcnn.inference.score_threshold import boxes_from
from mmcnn.models.wiring import set_num_classes, wire

NARROW = dict(widen_factor=0.125)
DETECTORS = {
    'yolov5_n': {},
    'yolov4_cspdarknet53_narrow': {},
    'yolov4_cspdarknet53_darknet': {'backbone': dict(NARROW, deepen_factor=0.33), 'neck': NARROW},
    'yolov3_darknet53': {'backbone': NARROW},
    'faster_rcnn_resnet50_fpn': {'backbone': NARROW},
}


@pytest.fixture(params=DETECTORS)
def detector(request):
    """A detector with random weights and widely spread scores that keeps nearly all boxes."""
    model = load_config(request.param).model
    for part, arguments in DETECTORS[request.param].items():
        model[part].update(arguments)
    set_num_classes(model, 3)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        network = MODELS.build(wire(model)).eval()
    head = getattr(network, 'roi_head', None) or network.bbox_head
    head.test_cfg.update(score_thr=0.001, max_per_img=5000)
    for parameter in head.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return network


def predict(network):
    torch.manual_seed(1)
    sample = DetDataSample(metainfo=dict(img_shape=(96, 96), ori_shape=(96, 96), scale_factor=(1.0, 1.0)))
    with torch.no_grad():
        (found,) = network(torch.randn(1, 3, 96, 96), [sample], mode='predict')
    return found.pred_instances


def test_the_boxes_above_the_score_are_the_same(detector):
    every = predict(detector)
    scores = every.scores.sort().values
    assert len(scores) > 20 and every.bboxes.isfinite().all()
    for score in (float(scores[len(scores) // 2]), float(scores[-2])):
        with boxes_from(detector, score):
            fewer = predict(detector)
        wanted, found = every[every.scores >= score], fewer[fewer.scores >= score]
        assert 0 < len(found) == len(wanted)
        # YOLOv3's threshold is for class scores before they are multiplied by the objectness.
        assert len(fewer) < len(every) or 'V3' in type(detector.bbox_head).__name__
        for one, other in ((wanted.scores, found.scores), (wanted.bboxes, found.bboxes), (wanted.labels, found.labels)):
            torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert torch.equal(predict(detector).scores, every.scores)  # the setting is restored


def test_a_lower_score_than_the_config_changes_nothing(detector):
    every = predict(detector)
    with boxes_from(detector, 0.0):
        assert torch.equal(predict(detector).scores, every.scores)


@pytest.mark.parametrize('head', [None, torch.nn.Module()])
def test_what_is_not_known_is_left_alone(head):
    network = torch.nn.Module()
    network.bbox_head = head
    with boxes_from(network, 0.5):
        assert network.bbox_head is head


def test_soft_nms_sees_all(detector):
    cfg = (getattr(detector, 'roi_head', None) or detector.bbox_head).test_cfg
    cfg['nms'] = dict(type='soft_nms', iou_threshold=0.5)
    before = cfg['score_thr']
    with boxes_from(detector, 0.5):
        assert cfg['score_thr'] == before
