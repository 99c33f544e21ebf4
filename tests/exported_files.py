"""Small exported detectors for the tests of runtime/ and its users: a plugin of tests/conftest.py.

Each cell of 32 x 32 pixels gives a box of 48 x 48 that ends in the cell's lower right corner. Its scores are the means
of the three channels, which makes it a detector of blue, green and red.
"""

import json

import cv2
import numpy as np
import pytest

from mmcnn.fit import Fit
from mmcnn.runtime.metadata import KEY, Input, Metadata

CLASSES = ('blue', 'green', 'red')
TEST_CFG = dict(
    score_thr=0.05, nms=dict(type='iou', iou_threshold=0.45), nms_pre=1000, max_per_img=100, multi_label=True
)
#: The start of every file: from images to boxes_ (N, B, 4) and shares (N, B, 3), with the channels in BGR order.
NETWORK = """
  means = AveragePool <kernel_shape = [32, 32], strides = [32, 32]> (floats)
  bgr = Gather <axis = 1> (means, order)
  wide = Constant <value_ints = [0, 3, -1]> ()
  flat = Reshape (bgr, wide)
  columns = Transpose <perm = [0, 2, 1]> (flat)
  shares = Div (columns, most)
  start = Constant <value_ints = [0]> ()
  end = Constant <value_ints = [1]> ()
  one = Slice (means, start, end, end)
  none = Sub (one, one)
  side = Constant <value_float = 32.0> ()
  sides = Add (none, side)
  across = Constant <value_int = 3> ()
  down = Constant <value_int = 2> ()
  x2 = CumSum (sides, across)
  y2 = CumSum (sides, down)
  length = Constant <value_float = 48.0> ()
  x1 = Sub (x2, length)
  y1 = Sub (y2, length)
  corners = Concat <axis = 1> (x1, y1, x2, y2)
  deep = Constant <value_ints = [0, 4, -1]> ()
  rows = Reshape (corners, deep)
  boxes_ = Transpose <perm = [0, 2, 1]> (rows)
"""
#: Takes the three best red boxes of each image; tests must ensure that none suppresses another.
NMS = """
  red = Constant <value_int = 2> ()
  of_red = Gather <axis = 2> (shares, red)
  count = Constant <value_ints = [3]> ()
  best, which = TopK <axis = 1> (of_red, count)
  least = Constant <value_float = {score_thr}> ()
  there = Greater (best, least)
  missing = Constant <value_float = -1.0> ()
  scores = Where (there, best, missing)
  last = Constant <value_ints = [2]> ()
  which3 = Unsqueeze (which, last)
  four = Constant <value_ints = [1, 1, 4]> ()
  at = Expand (which3, four)
  boxes = GatherElements <axis = 1> (limited, at)
  no_class = Constant <value_int = -1> ()
  labels_ = Where (there, red, no_class)
  num_ = Cast <to = 7> (there)
"""
OUTPUTS = {
    'plain': """
  labels = Identity (labels_)
  num = ReduceSum <keepdims = 0> (num_, end)
""",
    'tensorrt': """
  labels = Cast <to = 6> (labels_)
  num_row = ReduceSum <keepdims = 1> (num_, end)
  num = Cast <to = 6> (num_row)
""",
    'deepstream': """
  float_labels = Cast <to = 1> (labels_)
  scores3 = Unsqueeze (scores, last)
  labels3 = Unsqueeze (float_labels, last)
  detections = Concat <axis = 2> (boxes, scores3, labels3)
""",
}
SIGNATURES = {
    'decoded': 'float[{batch}, B, 4] boxes, float[{batch}, B, 3] scores',
    'plain': 'int64[{batch}] num, float[{batch}, 3, 4] boxes, float[{batch}, 3] scores, int64[{batch}, 3] labels',
    'tensorrt': (
        'int32[{batch}, 1] num, float[{batch}, 3, 4] boxes, float[{batch}, 3] scores, int32[{batch}, 3] labels'
    ),
    'deepstream': 'float[{batch}, 3, 6] detections',
}


def metadata_of(size=(64, 96), **changes):
    """Return metadata of a detector for canvases of ``size`` (H, W) in pixels; None means any size.

    ``input``, ``fit`` and ``test_cfg`` are dicts of changes.
    """
    fit = dict(scale=(96, 64), extra=0.0, value=(0.0,) * 3, canvas=size) | changes.pop('fit', {})
    values = dict(
        task='detection',
        form='decoded',
        network='cells',
        classes=CLASSES,
        input=Input(**dict(size=size) | changes.pop('input', {})),
        fit=Fit(**fit),
        test_cfg=TEST_CFG | changes.pop('test_cfg', {}),
        versions=dict(mmcnn='1'),
    )
    return Metadata(**values | changes)


def model_of(metadata):
    """Return the network that the metadata describe, as an ONNX model."""
    import onnx.parser

    of = metadata.input
    batch, height, width = (side or name for side, name in zip((of.batch, *(of.size or (0, 0))), 'NHW', strict=True))
    kind = 'uint8' if of.dtype == 'uint8' else 'float'
    shape = f'{batch}, 3, {height}, {width}' if of.layout == 'NCHW' else f'{batch}, {height}, {width}, 3'
    order, most = ('2, 1, 0' if of.channel_order == 'rgb' else '0, 1, 2'), (1 if of.normalised else 255)
    nodes = [
        'planes = Transpose <perm = [0, 3, 1, 2]> (images)' if of.layout == 'NHWC' else 'planes = Identity (images)',
        'floats = Cast <to = 1> (planes)',
        f'order = Constant <value_ints = [{order}]> ()',
        f'most = Constant <value_float = {most}.0> ()',
        NETWORK,
    ]
    if of.image_size:  # clip boxes to the image
        nodes += [
            'turn = Constant <value_ints = [1, 0, 1, 0]> ()',
            'limits_ = Gather (im_size, turn)',
            'limits = Cast <to = 1> (limits_)',
            'limited = Min (boxes_, limits)',
        ]
    else:
        nodes.append('limited = Identity (boxes_)')
    if metadata.form == 'nms':
        nodes += [NMS.format(score_thr=metadata.test_cfg['score_thr']), OUTPUTS[metadata.layout]]
    else:
        nodes += ['boxes = Identity (limited)', 'scores = Identity (shares)']
    signature = SIGNATURES[metadata.layout if metadata.form == 'nms' else 'decoded'].format(batch=batch)
    inputs = f'{kind}[{shape}] images{", int64[2] im_size" if of.image_size else ""}'
    body = '\n'.join(nodes)
    return onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 18]>\ncells ({inputs}) => ({signature}) {{\n{body}\n}}'
    )


@pytest.fixture
def exported(tmp_path):
    """``exported(name='m.onnx', text='', network=None, **changes)``: the path of a file; see :func:`metadata_of`.

    ``text`` replaces the metadata; with None there are none. ``network`` are the metadata that the network is built
    from, if they differ from the file's. ``exported.cells``, ``exported.metadata_of`` and ``exported.model_of`` are
    the functions in this file.
    """
    import onnx

    def make(name='m.onnx', text='', network=None, **changes):
        metadata = metadata_of(**changes)
        model = model_of(network or metadata)
        onnx.checker.check_model(model, full_check=True)
        if text is not None:
            onnx.helper.set_model_props(model, {KEY: text or metadata.to_json()})
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)
        return path

    make.cells, make.metadata_of, make.model_of = cells, metadata_of, model_of
    return make


@pytest.fixture
def exported_data(tmp_path):
    """A data folder of three images: one of each colour, and a red one annotated as blue."""
    red, green, folder = (0, 0, 255), (0, 255, 0), tmp_path / 'data'
    (folder / 'images').mkdir(parents=True)
    places = [(0, 1, red), (1, 2, green), (1, 1, red)]
    boxes = [[16, 0, 48, 32], [48, 16, 48, 48], [16, 16, 48, 48]]  # x, y, width, height
    images, annotations = [], []
    for i, (place, box, category) in enumerate(zip(places, boxes, (3, 2, 1), strict=True), start=1):
        cv2.imwrite(str(folder / 'images' / f'{i}.png'), cells(place))
        images.append(dict(id=i, file_name=f'{i}.png', width=96, height=64))
        annotations.append(dict(id=i, image_id=i, category_id=category, bbox=box, area=box[2] * box[3], iscrowd=0))
    categories = [dict(id=i, name=name) for i, name in enumerate(('blue', 'green', 'red'), start=1)]
    content = json.dumps(dict(images=images, annotations=annotations, categories=categories))
    for split in ('train', 'val'):
        (folder / f'{split}.json').write_text(content)
    return folder


def cells(*colours, shape=(2, 3), side=32):
    """Draw an image of ``shape`` cells: each of ``colours`` is (row, column, BGR); other cells are black."""
    image = np.zeros((shape[0] * side, shape[1] * side, 3), np.uint8)
    for row, column, colour in colours:
        image[row * side : (row + 1) * side, column * side : (column + 1) * side] = colour
    return image
