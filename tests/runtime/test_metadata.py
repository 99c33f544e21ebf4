"""What an exported file says of itself goes through JSON unchanged, and nothing is filled in."""

import json

import pytest

from mmcnn.errors import CheckpointError
from mmcnn.fit import Fit
from mmcnn.runtime.metadata import FORMAT_VERSION, Input, Metadata

TEST_CFG = dict(
    score_thr=0.001, nms=dict(type='iou', iou_threshold=0.65), nms_pre=30000, max_per_img=300, multi_label=True
)


def metadata(**changes):
    values = dict(
        task='detection',
        form='decoded',
        network='yolov5_s',
        classes=('Zelle', '細胞'),
        input=Input(size=(320, 352), mean=(1.0, 2.0, 3.0)),
        fit=Fit(scale=(320, 320), canvas=(320, 352)),
        test_cfg=TEST_CFG,
        dropped=('the cut of 1,000 candidates',),
        versions=dict(mmcnn='1'),
        checkpoint=dict(name='best.pth', sha256='ab'),
    )
    return Metadata(**values | changes)


def changed(**changes):
    return json.dumps(json.loads(metadata().to_json()) | changes)


def test_through_json_and_back():
    assert Metadata.from_json(metadata().to_json(), 'm.onnx') == metadata()
    of_backbone = metadata(task='features', form='maps', fit=None, classes=(), checkpoint=None)
    assert Metadata.from_json(of_backbone.to_json(), 'm.onnx') == of_backbone


def without(name):
    values = json.loads(metadata().to_json())
    del values[name]
    return json.dumps(values)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (None, 'm.onnx has no metadata of mmcnn, so nothing says its classes'),
        (changed(format_version=FORMAT_VERSION + 1), f'metadata of format {FORMAT_VERSION + 1}, and this mmcnn reads'),
        (changed(format_version='1'), "not whole: format_version is '1'"),
        ('{"format_version": 1', 'not whole: Expecting'),
        ('[]', 'm.onnx has metadata of mmcnn that are not whole'),
        (without('classes'), "not whole: 'classes' is missing"),
        (without('fit'), "not whole: 'fit' is missing"),
        (changed(fit=None), 'not whole: fit is missing'),
        (changed(classes=[]), 'not whole: classes are missing'),
        (changed(classes=[1, 2]), 'not whole: classes are missing'),
        (changed(test_cfg={}), 'not whole: test_cfg has no score_thr'),
        (changed(task='segmentation'), "not whole: task is 'segmentation' with the form 'decoded'"),
        (changed(form='maps'), "not whole: task is 'detection' with the form 'maps'"),
        (changed(input=dict(dtype='int4')), "not whole: input is 'int4'"),
        (changed(input=dict(channel_order='gbr')), "not whole: channel_order is 'gbr'"),
        (changed(anything=1), "not whole: .*'anything'"),
        (changed(fit=dict(scale=[1, 1], rule='outside')), "not whole: rule='outside' is not known"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(CheckpointError, match=message):
        Metadata.from_json(text, 'm.onnx')
