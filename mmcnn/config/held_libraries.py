"""The config of mmcnn that fits another library's weights, detected from the content and checked against all of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmcnn.config.held import Held, checked, own_held, per_anchor
from mmcnn.config.load import load_config
from mmcnn.config.model import build_on_meta
from mmcnn.errors import CheckpointError
from mmcnn.weights.checkpoint import Checkpoint
from mmcnn.weights.formats.darknet_file import count_floats, read_header
from mmcnn.weights.formats.ultralytics_file import UltralyticsFile, described, is_ultralytics
from mmcnn.weights.sources import torchvision_detectors as torchvision
from mmcnn.weights.sources.darknet import PUBLIC, order_of

#: Channels of YOLOv5's first convolution -> size of the model.
YOLO_V5 = {16: 'n', 32: 's', 48: 'm', 64: 'l', 80: 'x'}
#: Blocks of each stage -> our variants of torchvision's and MMDetection's ResNets and ResNeXts with these.
RESNETS = {
    (2, 2, 2, 2): ('resnet18',),
    (3, 4, 6, 3): ('resnet50-tv', 'resnet34', 'resnext50-32x4d'),
    (3, 4, 23, 3): ('resnet101-tv', 'resnext101-32x4d', 'resnext101-32x8d', 'resnext101-64x4d'),
    (3, 8, 36, 3): ('resnet152-tv',),
}
#: Test settings of Darknet's programs: all boxes with a score of at least 0.005, plain NMS at IoU 0.45 (yolov4.cfg's
#: greedynms also compares IoU).
DARKNET_TEST = dict(score_thr=0.005, nms_pre=30000, max_per_img=300)
DARKNET_SIDE = (608, 608)  # width and height in the public yolov3.cfg and yolov4.cfg


def hold(file: Checkpoint) -> Held:
    """Return the config of mmcnn that fits a file, checked against the whole file.

    Raises:
        CheckpointError: no config fits, or several that would produce different boxes; the message describes the file.
    """
    if file.format == 'darknet':
        return _darknet(file)
    if file.tree is not None:
        return _ultralytics(file, file.tree)
    state = file.state_dict
    if is_ultralytics(state):
        return _ultralytics(file, described(state, str(file.path)))
    if torchvision.SIGN in state:
        return _torchvision(file, state)
    if 'backbone.conv1.conv.weight' in state and 'bbox_head.convs_pred.0.bias' in state:
        return _mmdet_yolov3(file, state)
    if 'backbone.conv1.weight' in state and 'roi_head.bbox_head.fc_cls.weight' in state:
        return _mmdet_faster_rcnn(file, state)
    return own_held(file, state)


def _darknet(file: Checkpoint) -> Held:
    with file.unchanged() as path:
        header = read_header(path)
        floats = count_floats(path, header)
    takes = []
    for name, make in (('yolov3_darknet53', _darknet_v3), ('yolov4_cspdarknet53_darknet', _darknet_v4)):
        order = order_of(build_on_meta(load_config(name)))
        classes = order.classes_of(floats)
        if classes is not None:
            return make(file, classes, header.version)
        takes.append(f'{order.floats:,} ({order.model})')
    known = f', like {PUBLIC[floats]}' if floats in PUBLIC else ''
    raise CheckpointError(
        f'{file.path} holds {floats:,} floats{known}, which is not a complete YOLOv3 or YOLOv4 with any number of '
        f'classes ({", ".join(takes)}); name the config that it fits or initialises'
    )


def _darknet_v3(file: Checkpoint, classes: int, version: tuple[int, int, int]) -> Held:
    if letterbox := version < (0, 2, 5):
        resize = dict(type='mmcnn.LetterBox', img_scale=DARKNET_SIDE, rect=False, pad_val=127)
    else:
        resize = dict(type='Resize', scale=DARKNET_SIDE, keep_ratio=False)
    test = dict(DARKNET_TEST, conf_thr=0.005, nms=dict(type='nms', iou_threshold=0.45, split_thr=0))
    return Held(
        'yolov3_darknet53',
        "Darknet's YOLOv3, by its size",
        classes,
        {
            'model.bbox_head.type': 'mmcnn.DarknetYOLOV3Head',
            'model.bbox_head.bbox_coder.type': 'mmcnn.DarknetBBoxCoder',
            'model.test_cfg': test,
        },
        resize,
        _darknet_notes('yolov3.cfg', letterbox, version),
    )


def _darknet_v4(file: Checkpoint, classes: int, version: tuple[int, int, int]) -> Held:
    return Held(
        'yolov4_cspdarknet53_darknet',
        "Darknet's YOLOv4, by its size",
        classes,
        {'model.test_cfg': dict(DARKNET_TEST, nms=dict(type='iou', iou_threshold=0.45))},
        dict(type='Resize', scale=DARKNET_SIDE, keep_ratio=False),
        _darknet_notes('yolov4.cfg', letterbox=False, version=version),
    )


def _darknet_notes(cfg: str, letterbox: bool, version: tuple[int, int, int]) -> tuple[str, ...]:
    way = 'letterboxed' if letterbox else 'stretched'
    return (
        f'the anchors of {cfg} are assumed, because the file has none',
        f'images are {way} to {DARKNET_SIDE[0]} x {DARKNET_SIDE[1]} px as by Darknet with files of version '
        f'{".".join(map(str, version))}, NMS at IoU 0.45',
    )


def _ultralytics(file: Checkpoint, tree: UltralyticsFile) -> Held:
    first = 'model.0.conv.conv.weight' if tree.form == 'focus' else 'model.0.conv.weight'
    size = YOLO_V5.get(len(tree.state[first]))
    if size is None or (tree.form, size) == ('focus', 'n'):
        raise CheckpointError(
            f'{file.path} holds a YOLOv5 with {len(tree.state[first])} channels in the first convolution, but the '
            f'sizes that come with mmcnn have {", ".join(map(str, YOLO_V5))}: name a config with its widen_factor and '
            'deepen_factor'
        )
    options = {'model.bbox_head.anchors': [list(level) for level in tree.anchors]}
    if tree.form == 'focus':
        options['model.backbone.type'] = f'mmcnn.cspdarknet-focus-{size}'
    release = 'v4.0 or v5.0' if tree.form == 'focus' else 'v6.0 to v7.0'
    held = Held(
        f'yolov5_{size}',
        f'YOLOv5{size} ({release})',
        tree.num_classes,
        options,
        notes=('anchors are from the file; decoding, letterbox and NMS are from the config',),
    )
    return checked(file, held, 'ultralytics')


def _torchvision(file: Checkpoint, state: Mapping[str, Tensor]) -> Held:
    eps, *others = torchvision.norm_eps(state)
    roi_layer = dict(type='RoIAlign', output_size=7, sampling_ratio=2, aligned=False)
    options = {
        'model.backbone.norm_cfg': dict(type='BN', eps=eps),
        'model.rpn_head.anchor_generator.type': 'mmcnn.TorchvisionAnchorGenerator',
        'model.roi_head.bbox_roi_extractor.roi_layer': roi_layer,
    }
    why = 'because its norms have counters'
    if others:
        why = 'as in its COCO weights and weights fine-tuned from them (otherwise model.backbone.norm_cfg.eps=1e-5)'
    notes = (f"anchors, RoIAlign, image format and NMS are torchvision's, eps of BatchNorm {eps:g}, {why}",)
    classes = len(state[f'{torchvision.CLS}.bias']) - 1 if f'{torchvision.CLS}.bias' in state else 0
    return _on_resnet(file, "torchvision's Faster R-CNN", classes, options, notes, 'torchvision')


def _mmdet_yolov3(file: Checkpoint, state: Mapping[str, Tensor]) -> Held:
    held = Held(
        'yolov3_darknet53',
        "MMDetection's YOLOv3",
        per_anchor(state['bbox_head.convs_pred.0.bias']),
        notes=('size (608 px), anchors and NMS are from the config, because the file has none',),
    )
    return checked(file, held, 'mmdet')


def _mmdet_faster_rcnn(file: Checkpoint, state: Mapping[str, Tensor]) -> Held:
    # MMDetection 2 recorded its config under another name, in a format that is not read.
    if re.search(r"""style['"]?\s*[=:]\s*['"]caffe""", str(file.meta.get('config', ''))):
        raise CheckpointError(
            f"{file.path} holds MMDetection's Faster R-CNN on a ResNet with style 'caffe', which has its strides in "
            'the first 1x1 convolutions; mmcnn has no such backbone: the weights would load but give wrong results'
        )
    notes = ("style 'pytorch' of the ResNet, size, anchors and NMS are from the config, because the file has none",)
    classes = len(state['roi_head.bbox_head.fc_cls.weight']) - 1
    return _on_resnet(file, "MMDetection's Faster R-CNN", classes, {}, notes, 'mmdet')


def _on_resnet(
    file: Checkpoint, what: str, classes: int, options: Mapping[str, Any], notes: tuple[str, ...], source: str
) -> Held:
    """Return Faster R-CNN on the ResNet of a file."""
    found = (re.match(r'backbone\.(?:body\.)?layer([1-4])\.(\d+)\.', key) for key in file.state_dict)
    blocks = Counter(match[1] for match in {match[0]: match for match in found if match}.values())
    depths = tuple(blocks[stage] for stage in '1234')
    refusals: list[CheckpointError] = []
    for row in RESNETS.get(depths, ()):
        changed = {**options, 'model.backbone.type': f'mmcnn.{row}'}
        held = Held('faster_rcnn_resnet50_fpn', f'{what} on {row}', classes, changed, notes=notes)
        try:
            return checked(file, held, source)
        except CheckpointError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]
    raise CheckpointError(
        f'{file.path} is {what} on a backbone that mmcnn does not have: a ResNet with {depths} blocks in its stages'
    )
