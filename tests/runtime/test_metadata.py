"""What an exported file says of itself goes through JSON unchanged, and nothing is filled in."""

import copy
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


def within(part, **changes):
    return changed(**{part: json.loads(metadata().to_json())[part] | changes})


def leaves(values, path=()):
    """Where each value of a JSON text stands: keys and places of lists."""
    for key in values if isinstance(values, dict) else range(len(values)):
        yield (*path, key)
        if isinstance(values[key], dict | list):
            yield from leaves(values[key], (*path, key))


def part_of(values, path):
    for key in path:
        values = values[key]
    return values


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
        (changed(classes=[1, 2]), 'not whole: classes is 1'),
        (changed(layout='rows'), "not whole: layout is 'rows'"),
        (changed(test_cfg=TEST_CFG | dict(score_thr=25)), 'not whole: score_thr is 25'),
        (changed(test_cfg=TEST_CFG | dict(nms=dict(type='soft_nms', iou_threshold=0.5))), "type of nms is 'soft_nms'"),
        (changed(test_cfg=TEST_CFG | dict(nms=dict(type='iou'))), 'not whole: nms has no iou_threshold'),
        (within('fit', scale=[0, 640]), 'not whole: fit has a scale, a canvas or a stride below 1 pixel'),
        (within('fit', value=[0, 0, 256]), 'not whole: value of fit is'),
        (within('input', batch=0), 'not whole: input has a size, a stride or a batch below 1'),
        (within('input', std=[1, 1, 0]), 'not whole: mean is'),
        (changed(test_cfg={}), 'not whole: test_cfg has no score_thr'),
        (changed(task='segmentation'), "not whole: task is 'segmentation' with the form 'decoded'"),
        (changed(form='maps'), "not whole: task is 'detection' with the form 'maps'"),
        (within('input', dtype='int4'), "not whole: input is 'int4'"),
        (within('input', channel_order='gbr'), "not whole: channel_order is 'gbr'"),
        (changed(anything=1), "not whole: .*'anything'"),
        (within('fit', rule='outside'), "not whole: rule='outside' is unknown"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(CheckpointError, match=message):
        Metadata.from_json(text, 'm.onnx')


def test_nothing_is_filled_in_and_nothing_is_of_another_type():
    values = json.loads(metadata().to_json())
    fields = [
        path for path in leaves(values) if isinstance(path[-1], str) and path[0] not in ('versions', 'checkpoint')
    ]
    assert len(fields) > 30
    for path in fields:
        broken = copy.deepcopy(values)
        del part_of(broken, path[:-1])[path[-1]]
        with pytest.raises(CheckpointError, match=f'not whole: .*{path[-1]}'):
            Metadata.from_json(json.dumps(broken), 'm.onnx')
    for path in leaves(values):
        for other in (True, 1.5, 'x', [], {}, [None] * 9, float('nan')):
            before = part_of(values, path)
            if type(other) is type(before) or (before is None and other == 'x') or path[:2] == ('fit', 'value'):
                continue
            if type(before) is float and other != other:
                continue
            broken = copy.deepcopy(values)
            part_of(broken, path[:-1])[path[-1]] = other
            with pytest.raises(CheckpointError, match='not whole: '):
                Metadata.from_json(json.dumps(broken), 'm.onnx')
