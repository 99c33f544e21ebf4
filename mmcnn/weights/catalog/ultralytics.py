"""YOLOv5's COCO weights by release. v6.1 and v7.0 are of the same graph, v5.0 is of the one with a Focus stem.

Licence: AGPL-3.0, as Ultralytics states it today for YOLOv5 with its weights.
"""

from __future__ import annotations

from dataclasses import replace

from mmcnn.image_format import UNIT

from .published import Published

RELEASES = 'https://github.com/ultralytics/yolov5/releases/'

# Model, row of the trunk, release, file, AP on val2017 at 640 px, SHA-256 where it is known.
FILES = [
    ('yolov5_n', 'cspdarknet-n', 'v7.0', 'yolov5n', 28.0,
     '4f180cf23ba0717ada0badd6c685026d73d48f184d00fc159c2641284b2ac0a3'),
    ('yolov5_s', 'cspdarknet-s', 'v7.0', 'yolov5s', 37.4,
     '8b3b748c1e592ddd8868022e8732fde20025197328490623cc16c6f24d0782ee'),
    ('yolov5_m', 'cspdarknet-m', 'v7.0', 'yolov5m', 45.4,
     '61d933360ba5a7733a36764996c800287d973889d875227f5beedd2473a97a56'),
    ('yolov5_l', 'cspdarknet-l', 'v7.0', 'yolov5l', 49.0, ''),
    ('yolov5_x', 'cspdarknet-x', 'v7.0', 'yolov5x', 50.7, ''),
    ('yolov5_n', 'cspdarknet-n', 'v6.1', 'yolov5n', 28.0, ''),
    ('yolov5_s', 'cspdarknet-s', 'v6.1', 'yolov5s', 37.4, ''),
    ('yolov5_m', 'cspdarknet-m', 'v6.1', 'yolov5m', 45.4, ''),
    ('yolov5_l', 'cspdarknet-l', 'v6.1', 'yolov5l', 49.0, ''),
    ('yolov5_x', 'cspdarknet-x', 'v6.1', 'yolov5x', 50.7, ''),
    ('yolov5_s_focus', 'cspdarknet-focus-s', 'v5.0', 'yolov5s', 36.7, ''),
    # No config has these trunks; they are listed for them.
    ('cspdarknet-focus-m', '', 'v5.0', 'yolov5m', 44.5, ''),
    ('cspdarknet-focus-l', '', 'v5.0', 'yolov5l', 48.2, ''),
    ('cspdarknet-focus-x', '', 'v5.0', 'yolov5x', 50.4, ''),
]  # fmt: skip

ENTRIES = [
    Published(
        name=f'{model}/ultralytics-{release}',
        model=model,
        backbone=backbone,
        world='ultralytics',
        urls=(f'{RELEASES}download/{release}/{file}.pt',),
        sha256=sha256,
        top=True,
        licence='AGPL-3.0',
        image=replace(UNIT, size=640),
        activation='SiLU',
        norm_eps=1e-3,
        metric=f'AP {ap} val2017 at 640 px',
        source=f'{RELEASES}tag/{release}',
        trained_on='COCO train2017',
    )
    for model, backbone, release, file, ap, sha256 in FILES
]
