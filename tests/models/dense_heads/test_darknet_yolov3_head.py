import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict

import mmcnn  # noqa: F401

TEST = dict(
    nms_pre=1000, min_bbox_size=0, score_thr=0.005, conf_thr=0.005, max_per_img=300,
    nms=dict(type='nms', iou_threshold=0.45, split_thr=0),
)  # fmt: skip


def head(kind='mmcnn.DarknetYOLOV3Head', coder='mmcnn.DarknetBBoxCoder', classes=2):
    anchors = dict(
        type='YOLOAnchorGenerator',
        base_sizes=[
            [(116, 90), (156, 198), (373, 326)],
            [(30, 61), (62, 45), (59, 119)],
            [(10, 13), (16, 30), (33, 23)],
        ],
        strides=[32, 16, 8],
    )
    return MODELS.build(
        ConfigDict(
            type=kind, num_classes=classes, in_channels=[8, 4, 2], out_channels=[16, 8, 4], anchor_generator=anchors,
            bbox_coder=dict(type=coder), featmap_strides=[32, 16, 8], test_cfg=TEST, _scope_='mmdet',
        )
    )  # fmt: skip


def maps(*slots, classes=2, size=(64, 96)):
    """Logits that find nothing except in the given slots (level, anchor, row, column, values)."""
    logits = [torch.full((1, 3 * (5 + classes), size[0] // s, size[1] // s), -20.0) for s in (32, 16, 8)]
    for level, anchor, row, column, values in slots:
        start = anchor * (5 + classes)
        logits[level][0, start : start + len(values), row, column] = torch.tensor(values)
    return logits


def test_a_letterbox_is_taken_off():
    """Row 2, column 3 at stride 16, anchor (62, 45): centre (56, 40) in the input, which is padded by (4, 8)."""
    meta = dict(img_shape=(64, 96), ori_shape=(300, 500), scale_factor=(0.25, 0.2), pad_param=(8, 4))
    (found,) = head().predict_by_feat(maps((1, 1, 2, 3, (0.0, 0, 0, 0, 3, -20, 1))), [meta], rescale=True)
    expected = [(25 - 4) / 0.25, (17.5 - 8) / 0.2, (87 - 4) / 0.25, (62.5 - 8) / 0.2]
    torch.testing.assert_close(found.bboxes, torch.tensor([expected]))
    assert found.labels.tolist() == [1]


def test_without_padding_it_is_mmdetection_s_with_clipped_boxes():
    torch.manual_seed(0)
    logits = [torch.randn(1, 21, 64 // s, 96 // s) for s in (32, 16, 8)]
    meta = dict(img_shape=(64, 96), ori_shape=(64, 96), scale_factor=(1.0, 1.0))
    ours, theirs = (
        each.predict_by_feat([m.clone() for m in logits], [meta], rescale=True)[0]
        for each in (head(), head('YOLOV3Head', 'YOLOBBoxCoder'))
    )
    assert len(ours) == len(theirs) > 20 and (theirs.bboxes < 0).any()
    limit = torch.tensor([96.0, 64.0, 96.0, 64.0])
    torch.testing.assert_close(ours.bboxes, torch.min(theirs.bboxes.clamp(min=0), limit))
    assert torch.equal(ours.scores, theirs.scores) and torch.equal(ours.labels, theirs.labels)


@pytest.mark.parametrize('t', [30.0, 200.0])
def test_sizes_that_overflow_end_with_the_image_and_leave_the_others_alone(t):
    slots = [(0, 2, 0, 0, (0.0, 0, t, t, 4, 4, -20)), (2, 0, 1, 1, (0.0, 0, 0, 0, 3, 4, -20))]
    slots += [(2, 0, 5, 9, (0.0, 0, 0, 0, 3, -20, 3))]
    meta = dict(img_shape=(64, 96), ori_shape=(64, 96), scale_factor=(1.0, 1.0))
    (found,) = head().predict_by_feat(maps(*slots), [meta], rescale=True)
    assert found.bboxes.tolist() == [[0, 0, 96, 64], [7, 5.5, 17, 18.5], [71, 37.5, 81, 50.5]]
    assert found.labels.tolist() == [0, 0, 1]
