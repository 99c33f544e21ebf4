"""The metadata of an exported file survive JSON unchanged, and no missing value is filled in."""

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
    """Yield the path of each value in a JSON document, as keys and list indices."""
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
        (None, 'm.onnx has no metadata of mmcnn, so its classes'),
        (
            changed(format_version=FORMAT_VERSION + 1),
            f'metadata of format {FORMAT_VERSION + 1}, but this mmcnn only reads',
        ),
        (changed(format_version='1'), "invalid metadata of mmcnn: format_version is '1'"),
        ('{"format_version": 1', 'invalid metadata of mmcnn: Expecting'),
        ('[]', 'm.onnx has invalid metadata of mmcnn'),
        (without('classes'), "invalid metadata of mmcnn: 'classes' is missing"),
        (without('fit'), "invalid metadata of mmcnn: 'fit' is missing"),
        (changed(fit=None), 'invalid metadata of mmcnn: fit is missing'),
        (changed(classes=[]), 'invalid metadata of mmcnn: classes are missing'),
        (changed(classes=[1, 2]), 'invalid metadata of mmcnn: classes is 1'),
        (changed(layout='rows'), "invalid metadata of mmcnn: layout is 'rows'"),
        (changed(test_cfg=TEST_CFG | dict(score_thr=25)), 'invalid metadata of mmcnn: score_thr is 25'),
        (changed(test_cfg=TEST_CFG | dict(nms=dict(type='soft_nms', iou_threshold=0.5))), "type of nms is 'soft_nms'"),
        (
            changed(test_cfg=TEST_CFG | dict(nms=dict(type='iou'))),
            'invalid metadata of mmcnn: nms has no iou_threshold',
        ),
        (
            within('fit', scale=[0, 640]),
            'invalid metadata of mmcnn: fit has a scale, a canvas or a stride below 1 pixel',
        ),
        (within('fit', value=[0, 0, 256]), 'invalid metadata of mmcnn: value of fit is'),
        (within('input', batch=0), 'invalid metadata of mmcnn: input has a size, a stride or a batch below 1'),
        (within('input', std=[1, 1, 0]), 'invalid metadata of mmcnn: mean is'),
        (changed(test_cfg={}), 'invalid metadata of mmcnn: test_cfg has no score_thr'),
        (changed(task='segmentation'), "invalid metadata of mmcnn: task is 'segmentation' with the form 'decoded'"),
        (changed(form='maps'), "invalid metadata of mmcnn: task is 'detection' with the form 'maps'"),
        (within('input', dtype='int4'), "invalid metadata of mmcnn: input is 'int4'"),
        (within('input', channel_order='gbr'), "invalid metadata of mmcnn: channel_order is 'gbr'"),
        (changed(anything=1), "invalid metadata of mmcnn: .*'anything'"),
        (within('fit', rule='outside'), "invalid metadata of mmcnn: rule='outside' is unknown"),
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
        with pytest.raises(CheckpointError, match=f'invalid metadata of mmcnn: .*{path[-1]}'):
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
            with pytest.raises(CheckpointError, match='invalid metadata of mmcnn: '):
                Metadata.from_json(json.dumps(broken), 'm.onnx')
