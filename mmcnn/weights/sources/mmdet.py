"""Weights of MMDetection and MMPretrain: the mapping of their layers to ours, and MMDetection's published files.

No licence of the weights is stated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from mmcnn.errors import CheckpointError
from mmcnn.image_format import IMAGENET, UNIT, UNIT_256, ImageFormat
from mmcnn.models.families import backbone_families
from mmcnn.weights.sources.published import Published
from mmcnn.weights.sources.torchvision import RESNET, VGG_TOP, vgg_features
from mmcnn.weights.sources.translate import Rule, Source, Translation

if TYPE_CHECKING:
    from mmcnn.models.backbones.row import Row

# Darknet: conv_res_block1 is a stage, its res0 the first block after the strided convolution.
DARKNET: list[Rule] = [
    (r'conv1\.(conv|bn)', r'backbone.stem.\1'),
    (r'conv_res_block(\d)\.conv\.(conv|bn)', r'backbone.stage\1.0.\2'),
    (r'conv_res_block(\d)\.res(\d)\.(.+)', lambda match: f'backbone.stage{match[1]}.{int(match[2]) + 1}.{match[3]}'),
]

# ResNet and ResNeXt: torchvision's names, except MMPretrain's head.
RESNETS: list[Rule] = [
    *RESNET,
    (r'head\.fc', 'top.classes'),
    # deformable convolutions; the second form is that of MMDetection 1
    (r'layer(\d)\.(\d+)\.conv2(?:\.conv)?_offset', r'backbone.stage\1.blocks.\2.conv2.conv.conv_offset'),
]


def vgg_rules(variant: str) -> list[Rule]:
    """Return VGG's rules: MMCV's (Caffe's weights, SSD) has torchvision's names; MMPretrain counts blocks and pools."""
    rules, index = [*vgg_features(variant), *VGG_TOP], 0
    for level, depth in enumerate(backbone_families()[variant].variants[variant].depths):
        for i in range(1, depth + 1):
            rules.append((rf'features\.{index}\.(conv|bn)', rf'backbone.stage{level}.conv{i}.\1'))
            index += 1
        index += 1  # the pool
    return rules


# Layer names of MMDetection's and MMPretrain's backbones -> layer names of mmcnn.Classifier, a list for each of our
# families, or a function that returns the list for a network.
RULES: dict[str, list[Rule] | Callable[[str], list[Rule]]] = {
    'Darknet': DARKNET,
    'ResNeXt': RESNETS,
    'ResNet': RESNETS,
    'VGG': vgg_rules,
}

#: Properties of their networks that no tensor shows. ResNet of style 'caffe' (stride on the first 1x1, no biases) is
#: not one of our rows but has the same tensors as style 'pytorch', which is assumed unless the file name differs.
DEMANDS = {'Darknet': dict(act=dict(type='LeakyReLU', negative_slope=0.1))}


#: Names and files of ResNets of style 'caffe' in MMDetection's model zoo.
CAFFE_STYLE = re.compile(r'.*resnet\d+_(caffe|msra)(-[0-9a-f]{8}\.pth)?')


def refuse_caffe_style(address: str | Path) -> None:
    """Raise CheckpointError for a path or an address whose name says that it is a ResNet of style 'caffe'."""
    if CAFFE_STYLE.fullmatch(str(address).rpartition('/')[2]):
        raise CheckpointError(
            f"{address} holds a ResNet of style 'caffe', whose strides are on the first 1x1 convolutions, unlike "
            'in our rows: the weights would load but give wrong results'
        )


def _prepare(state: Mapping[str, Tensor], row: Row) -> Translation:
    """Return the backbone and MMPretrain's head; a detector's neck and heads are left out."""
    if not any(key.startswith('backbone.') for key in state):
        return Translation(dict(state))
    inside, outside = {}, []
    for key, value in state.items():
        if key.startswith(('backbone.', 'head.fc.')):
            inside[key.removeprefix('backbone.')] = value
        else:
            outside.append(key)
    return Translation(inside, {"the detector's neck and heads": outside} if outside else {})


SOURCE = Source('MMDetection', RULES, demands=DEMANDS, prepare=_prepare, images={'VGG': IMAGENET})


def from_mmdet_detector(state: Mapping[str, Tensor], model: nn.Module) -> Translation:
    """Return the state dict of one of MMDetection's detectors under our names: only the backbone's differ.

    Our YOLOv3 and Faster R-CNN have MMDetection's necks and heads. If a checkpoint has exponential moving averages
    (``ema_state_dict`` next to ``state_dict``), the ``state_dict`` is used: MMEngine stores the averages there.

    Args:
        state: ``'backbone...'``, ``'neck...'``, ``'bbox_head...'``, ... to tensor.
        model: a detector with one of our backbones.

    Raises:
        CheckpointError: the detector's backbone is not one of ours, or the file's is of another family.
    """
    variant = getattr(getattr(model, 'backbone', None), 'variant', None)
    if variant not in backbone_families():
        raise CheckpointError(f'{type(model).__name__} has no mmcnn backbone, so none of its layers need renaming')
    trunk = {key: value for key, value in state.items() if key.startswith('backbone.')}
    translation = SOURCE.translate(trunk, variant)
    others = {key: value for key, value in state.items() if key not in trunk}
    return replace(translation, state={**translation.state, **others})


# The published files; their names contain 8 digits of the SHA-256.

FOLDER = 'https://download.openmmlab.com/mmdetection/v2.0/'
RESULTS = 'https://github.com/open-mmlab/mmdetection/blob/v3.3.0/configs/{}/metafile.yml'

DARKNET53 = dict(activation='LeakyReLU(0.1)', norm_eps=1e-5)
YOLO_V3 = dict(**DARKNET53, backbone='darknet53', image=UNIT, source=RESULTS.format('yolo'))
FASTER_RCNN = dict(
    backbone='resnet50-tv', image=IMAGENET, activation='ReLU', norm_eps=1e-5, source=RESULTS.format('faster_rcnn')
)

# Name, file, AP on val2017, size: the side for YOLOv3, the shorter side for Faster R-CNN.
YOLO_V3_FILES = [
    ('yolov3_darknet53/mmdet', 'yolo/yolov3_d53_mstrain-608_273e_coco/'
     'yolov3_d53_mstrain-608_273e_coco_20210518_115020-a2c3acb8', 33.7, 608),
    ('yolov3_darknet53/mmdet-amp', 'yolo/yolov3_d53_fp16_mstrain-608_273e_coco/'
     'yolov3_d53_fp16_mstrain-608_273e_coco_20210517_213542-4bc34944', 33.8, 608),
    ('yolov3_darknet53_416/mmdet', 'yolo/yolov3_d53_mstrain-416_273e_coco/'
     'yolov3_d53_mstrain-416_273e_coco-2b60fcd9', 30.9, 416),
    ('yolov3_darknet53_320/mmdet', 'yolo/yolov3_d53_320_273e_coco/'
     'yolov3_d53_320_273e_coco-421362b6', 27.9, 320),
]  # fmt: skip
FASTER_RCNN_FILES = [
    ('faster_rcnn_resnet50_fpn/mmdet', 'faster_rcnn/faster_rcnn_r50_fpn_1x_coco/'
     'faster_rcnn_r50_fpn_1x_coco_20200130-047c8118', 37.4, 800),
    ('faster_rcnn_resnet50_fpn_2x/mmdet', 'faster_rcnn/faster_rcnn_r50_fpn_2x_coco/'
     'faster_rcnn_r50_fpn_2x_coco_bbox_mAP-0.384_20200504_210434-a5d8aa15', 38.4, 800),
    ('faster_rcnn_resnet50_fpn_2x/mmdet-ms-3x', 'faster_rcnn/faster_rcnn_r50_fpn_mstrain_3x_coco/'
     'faster_rcnn_r50_fpn_mstrain_3x_coco_20210524_110822-e10bd31c', 40.3, 800),
]  # fmt: skip


def _detectors(files: list[tuple], image: ImageFormat, **facts: Any) -> Iterator[Published]:
    for name, file, ap, size in files:
        yield Published(
            **facts,
            name=name,
            model=name.partition('/')[0],
            library='mmdet',
            urls=(f'{FOLDER}{file}.pth',),
            hash_prefix=file.rpartition('-')[2],
            top=True,
            image=replace(image, size=size),
            metric=f'AP {ap} val2017 at {size} px',
            trained_on='COCO train2017',
        )


ENTRIES = [
    Published(
        **DARKNET53,
        name='darknet53/mmdet',  # open-mmlab://darknet53
        model='darknet53',
        library='mmdet',
        urls=('https://download.openmmlab.com/pretrain/third_party/darknet53-a628ea1b.pth',),
        hash_prefix='a628ea1b',
        top=False,
        image=UNIT_256,
    ),
    *_detectors(YOLO_V3_FILES, **YOLO_V3),
    *_detectors(FASTER_RCNN_FILES, **FASTER_RCNN),
]
