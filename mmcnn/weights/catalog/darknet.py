"""Weights of Joseph Redmon's and Alexey Bochkovskiy's Darknet. ``X.conv.N`` is the first N layers of a network.

Darknet's repositories state no licence of the weights.
"""

from __future__ import annotations

from dataclasses import replace

from mmcnn.image_format import UNIT, UNIT_256

from .published import Published

REDMON = ('https://pjreddie.com/media/files/', 'https://data.pjreddie.com/files/')
ALEXEY = 'https://github.com/AlexeyAB/darknet/releases/download/'
CLASSIFIERS = 'https://pjreddie.com/darknet/imagenet/'
YOLO_V4_PAPER = 'arXiv 2004.10934'

SPLIT = 'COCO 2014, trainvalno5k'
LEAKAGE = (
    'trained on images of val2017 (the 2014 split overlaps it): its AP there is too high, and so is that of whatever '
    'starts from it'
)


def _redmon(file: str) -> tuple[str, ...]:
    return tuple(folder + file for folder in REDMON)


DARKNET53 = dict(model='darknet53', world='darknet', activation='LeakyReLU(0.1)', norm_eps=1e-5)
YOLO_V4 = dict(
    model='yolov4_cspdarknet53_darknet',
    backbone='cspdarknet53',
    world='darknet',
    image=replace(UNIT, size=608),
    activation='Mish',
    norm_eps=1e-5,
    trained_on=SPLIT,
    warning=LEAKAGE,
)

ENTRIES = [
    # Published for starting YOLOv3; darknet/build/darknet/x64/partial.cmd cuts it from the 448 px classifier.
    Published(
        **DARKNET53,
        name='darknet53/darknet-conv74',
        urls=_redmon('darknet53.conv.74'),
        top=False,
        image=replace(UNIT, size=448),
    ),
    Published(
        **DARKNET53,
        name='darknet53/darknet',
        urls=_redmon('darknet53.weights'),
        top=True,
        image=UNIT_256,
        metric='top-1 77.2',
        source=CLASSIFIERS,
    ),
    Published(
        **DARKNET53,
        name='darknet53/darknet-448',
        urls=_redmon('darknet53_448.weights'),
        top=True,
        image=replace(UNIT, size=448),
        metric='top-1 78.5',
        source=CLASSIFIERS,
    ),
    Published(
        name='cspdarknet53/darknet-conv105',  # csdarknet53-omega, the start of YOLOv4
        model='cspdarknet53',
        world='darknet',
        urls=(f'{ALEXEY}darknet_yolo_v4_pre/csdarknet53-omega.conv.105',),
        top=False,
        image=UNIT_256,
        activation='Mish',
        norm_eps=1e-5,
        metric='top-1 78.7',
        source=f'{YOLO_V4_PAPER}, Table 3',
    ),
    Published(
        name='yolov3_darknet53/darknet',
        model='yolov3_darknet53',
        backbone='darknet53',
        world='darknet',
        urls=_redmon('yolov3.weights'),
        sha256='523e4e69e1d015393a1b0a441cef1d9c7659e3eb2d7e15f793f060a21b32f297',
        top=True,
        image=replace(UNIT, size=608),
        activation='LeakyReLU(0.1)',
        norm_eps=1e-5,
        metric='AP 33.0 test-dev at 608 px',
        source=f'{YOLO_V4_PAPER}, Table 8',
        trained_on=SPLIT,
        warning=LEAKAGE,
    ),
    Published(
        **YOLO_V4,
        name='yolov4_cspdarknet53_darknet/darknet',
        urls=(f'{ALEXEY}darknet_yolo_v3_optimal/yolov4.weights',),
        sha256='e8a4f6c62188738d86dc6898d82724ec0964d0eb9d2ae0f0a9d53d65d108d562',
        top=True,
        metric='AP 43.5 test-dev at 608 px',
        source=f'{YOLO_V4_PAPER}, Table 8',
    ),
    # Trunk, SPP and the way down of the neck.
    Published(
        **YOLO_V4,
        name='yolov4_cspdarknet53_darknet/darknet-conv137',
        urls=(f'{ALEXEY}darknet_yolo_v3_optimal/yolov4.conv.137',),
        top=False,
    ),
]
