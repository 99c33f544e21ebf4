"""The YOLOv3 head against MMDetection's: weights, losses and detections, for a whole batch at once."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmcnn.models.dense_heads import DarknetYOLOV3Head, YOLOV3Head, yolov3_head
from tests.mmdet_heads import assert_same

SIZE = (96, 64)
METAS = [dict(img_shape=SIZE, scale_factor=(0.5 + i / 7, 0.3)) for i in range(3)]
TEST = dict(
    nms_pre=200, min_bbox_size=0, score_thr=0.05, conf_thr=0.005, max_per_img=50,
    nms=dict(type='nms', iou_threshold=0.45),
)  # fmt: skip
TRAIN = dict(assigner=dict(type='mmcnn.GridAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0))


def head(kind='mmcnn.YOLOV3Head', classes=3, **cfg):
    """A head; ``cfg`` may also have entries of its ``test_cfg``."""
    own = {key: cfg.pop(key) for key in ('one_hot_smoother', 'train_cfg') if key in cfg}
    return MODELS.build(
        ConfigDict(
            dict(type=kind, num_classes=classes, in_channels=[8, 4, 2], out_channels=[16, 8, 4], _scope_='mmdet')
            | dict(test_cfg={**TEST, **cfg}, train_cfg=TRAIN)
            | own
        )
    )


def logits(spread=1.0, classes=3, images=3):
    """Random maps; in the second image every score is too low."""
    torch.manual_seed(0)
    maps = [spread * torch.randn(images, 3 * (5 + classes), SIZE[0] // s, SIZE[1] // s) for s in (32, 16, 8)]
    for each in maps:
        each[1:2] -= 40
    return maps


def both(method, maps, *args, heads=None, **cfg):
    for each in heads or (head(**cfg), head('YOLOV3Head', **cfg)):
        yield getattr(each, method)([m.clone() for m in maps], *args)


CASES = {
    'as configured': {},
    'all boxes': dict(score_thr=0.0, conf_thr=0.0),
    'no boxes': dict(score_thr=1.0),
    'few candidates': dict(nms_pre=20),
    'large boxes only': dict(min_bbox_size=60),
    'of any size': dict(min_bbox_size=-1),
    'all classes together': dict(nms=dict(iou_threshold=0.5, class_agnostic=True)),
    'class by class': dict(nms=dict(type='nms', iou_threshold=0.3, split_thr=0)),
    'another suppression': dict(nms=dict(type='nms', iou_threshold=0.3, offset=1)),
    'all candidates': dict(nms_pre=-1),
}


@pytest.mark.parametrize('spread', [1.0, 4.0])  # random scores, and as high as a trained head's
@pytest.mark.parametrize('case', CASES)
def test_detections_are_mmdetections(case, spread, way):
    for rescale in (True, False):
        assert_same(*both('predict_by_feat', logits(spread), METAS, None, rescale, **CASES[case]))


def test_a_cfg_replaces_the_own(way):
    cfg = ConfigDict(TEST, max_per_img=7)
    found, expected = both('predict_by_feat', logits(), METAS, cfg)
    assert_same(found, expected)
    assert len(found[0]) == 7


def test_candidates_without_suppression():
    """On the CPU only, where sorting keeps equal scores in the same order."""
    found, expected = both('predict_by_feat', logits(), METAS, None, True, False)
    assert_same(found, expected)
    assert len(found[0]) == TEST['nms_pre'] and len(found[1]) == 0


def test_the_maps_stay_as_they_are():
    maps = [m[..., :1, :1].contiguous() for m in logits()]  # MMDetection's head changes maps of one cell
    before = [m.clone() for m in maps]
    head().predict_by_feat(maps, METAS)
    assert all(map(torch.equal, maps, before))


def test_half_precision_is_computed_in_float32():
    maps = [m.bfloat16() for m in logits(4.0)]
    assert_same(head().predict_by_feat(maps, METAS), head().predict_by_feat([m.float() for m in maps], METAS))


def objects(*counts):
    generator = torch.Generator().manual_seed(1)
    for count in counts:
        corners = torch.rand(count, 2, generator=generator) * 50
        sides = torch.rand(count, 2, generator=generator) * 40 + 2
        labels = torch.randint(0, 3, (count,), generator=generator)
        yield InstanceData(bboxes=torch.cat([corners, corners + sides], 1), labels=labels)


@pytest.mark.parametrize('smooth', [0.0, 0.1])
def test_losses_are_mmdetections(smooth, way):
    found, expected = both('loss_by_feat', logits(), [*objects(5, 0, 2)], METAS, one_hot_smoother=smooth)
    assert found.keys() == expected.keys()
    for name, losses in found.items():
        assert all(map(torch.equal, losses, expected[name])), name


def test_another_sampler_is_mmdetections(way, monkeypatch):
    monkeypatch.setattr(yolov3_head, 'PseudoSampler', type(None))
    found, expected = both('loss_by_feat', logits(), [*objects(5, 0, 2)], METAS)
    assert torch.equal(found['loss_wh'][0], expected['loss_wh'][0])


def test_weights_have_mmdetections_names():
    assert list(head().state_dict()) == list(head('YOLOV3Head').state_dict())
    assert issubclass(DarknetYOLOV3Head, YOLOV3Head)
