"""MMDetection's weights; the file names carry 8 digits of the SHA-256. It states no licence of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from mmcnn.image_format import IMAGENET, UNIT, UNIT_256, ImageFormat

from .published import Published

FOLDER = 'https://download.openmmlab.com/mmdetection/v2.0/'
SOURCE = 'https://github.com/open-mmlab/mmdetection/blob/v3.3.0/configs/{}/metafile.yml'

DARKNET53 = dict(activation='LeakyReLU(0.1)', norm_eps=1e-5)
YOLO_V3 = dict(**DARKNET53, backbone='darknet53', image=UNIT, source=SOURCE.format('yolo'))
FASTER_RCNN = dict(
    backbone='resnet50-tv', image=IMAGENET, activation='ReLU', norm_eps=1e-5, source=SOURCE.format('faster_rcnn')
)

# Name, file, AP on val2017, size: of YOLOv3 the side, of Faster R-CNN the shorter side.
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
            world='mmdet',
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
        world='mmdet',
        urls=('https://download.openmmlab.com/pretrain/third_party/darknet53-a628ea1b.pth',),
        hash_prefix='a628ea1b',
        top=False,
        image=UNIT_256,
    ),
    *_detectors(YOLO_V3_FILES, **YOLO_V3),
    *_detectors(FASTER_RCNN_FILES, **FASTER_RCNN),
]
