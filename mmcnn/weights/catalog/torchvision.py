"""torchvision's ImageNet weights; the file names carry 8 digits of the SHA-256.

Licence: its README leaves that to the terms of the data they were trained on, and names none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mmcnn.image_format import IMAGENET, SYMMETRIC, SYMMETRIC_299, ImageFormat

from .published import Published

FOLDER = 'https://download.pytorch.org/models/'
SOURCE = 'https://docs.pytorch.org/vision/stable/models.html'

# Model, version of the weights, file, top-1. The same 299 x 299 or 224 x 224 pixels throughout a table.
VGG = [
    ('vgg11', 1, 'vgg11-8a719046', 69.02),
    ('vgg13', 1, 'vgg13-19584684', 69.928),
    ('vgg16', 1, 'vgg16-397923af', 71.592),  # the rows vgg16 and vgg19 say Keras's image format; this is torchvision's
    ('vgg19', 1, 'vgg19-dcbb9e9d', 72.376),
]
BATCH_NORM = [
    ('vgg11-bn', 1, 'vgg11_bn-6002323d', 70.37),
    ('vgg13-bn', 1, 'vgg13_bn-abd245e5', 71.586),
    ('vgg16-bn', 1, 'vgg16_bn-6c64b313', 73.36),
    ('vgg19-bn', 1, 'vgg19_bn-c79401a0', 74.218),
    ('resnet18', 1, 'resnet18-f37072fd', 69.758),
    ('resnet34', 1, 'resnet34-b627a593', 73.314),
    ('resnet50-tv', 1, 'resnet50-0676ba61', 76.13),
    ('resnet50-tv', 2, 'resnet50-11ad3fa6', 80.858),
    ('resnet101-tv', 1, 'resnet101-63fe2227', 77.374),
    ('resnet101-tv', 2, 'resnet101-cd907fc2', 81.886),
    ('resnet152-tv', 1, 'resnet152-394f9c45', 78.312),
    ('resnet152-tv', 2, 'resnet152-f82ba261', 82.284),
    ('resnext50-32x4d', 1, 'resnext50_32x4d-7cdf4587', 77.618),
    ('resnext50-32x4d', 2, 'resnext50_32x4d-1a0047aa', 81.198),
    ('resnext101-32x8d', 1, 'resnext101_32x8d-8ba56ff5', 79.312),
    ('resnext101-32x8d', 2, 'resnext101_32x8d-110c445d', 82.834),
    ('resnext101-64x4d', 1, 'resnext101_64x4d-173b62eb', 83.246),
    ('densenet121-tv', 1, 'densenet121-a639ec97', 74.434),
    ('densenet169-tv', 1, 'densenet169-b2777c0a', 75.6),
    ('densenet201-tv', 1, 'densenet201-c1103571', 76.896),
]
MOBILENET_V2 = [
    ('mobilenetv2-tv', 1, 'mobilenet_v2-b0353104', 71.878),
    ('mobilenetv2-tv', 2, 'mobilenet_v2-7ebf99e0', 72.154),
]
MOBILENET_V3 = [
    ('mobilenetv3-small-tv', 1, 'mobilenet_v3_small-047dcff4', 67.668),
    ('mobilenetv3-large-tv', 1, 'mobilenet_v3_large-8738ca79', 74.042),
    ('mobilenetv3-large-tv', 2, 'mobilenet_v3_large-5c1a4163', 75.274),
]
# TensorFlow's weights: torchvision turns its own image format into theirs inside the model.
INCEPTION_V1 = [('inceptionv1-tv', 1, 'googlenet-1378be20', 69.778)]
INCEPTION_V3 = [('inceptionv3-tv', 1, 'inception_v3_google-0cc3c7bd', 77.294)]

# The same with the size of the images behind it.
EFFICIENTNET = [
    ('efficientnet-b0-tv', 1, 'efficientnet_b0_rwightman-7f5810bc', 77.692, 224),
    ('efficientnet-b1-tv', 1, 'efficientnet_b1_rwightman-bac287d4', 78.642, 240),
    ('efficientnet-b1-tv', 2, 'efficientnet_b1-c27df63c', 79.838, 240),
    ('efficientnet-b2-tv', 1, 'efficientnet_b2_rwightman-c35c1473', 80.608, 288),
    ('efficientnet-b3-tv', 1, 'efficientnet_b3_rwightman-b3899882', 82.008, 300),
    ('efficientnet-b4-tv', 1, 'efficientnet_b4_rwightman-23ab8bcd', 83.384, 380),
]
EFFICIENTNET_LARGE = [
    ('efficientnet-b5-tv', 1, 'efficientnet_b5_lukemelas-1a07897c', 83.444, 456),
    ('efficientnet-b6-tv', 1, 'efficientnet_b6_lukemelas-24a108a5', 84.008, 528),
    ('efficientnet-b7-tv', 1, 'efficientnet_b7_lukemelas-c5b4e57e', 84.122, 600),
]


def _entries(rows: list[tuple], activation: str, eps: float | None, image: ImageFormat) -> Iterator[Published]:
    for model, version, file, top1, *size in rows:
        yield Published(
            name=f'{model}/torchvision-v{version}',
            model=model,
            world='torchvision',
            urls=(f'{FOLDER}{file}.pth',),
            hash_prefix=file.rpartition('-')[2],
            top=True,
            image=replace(image, size=size[0]) if size else image,
            activation=activation,
            norm_eps=eps,
            metric=f'top-1 {top1}',
            source=SOURCE,
        )


ENTRIES = [
    *_entries(VGG, 'ReLU', None, IMAGENET),
    *_entries(BATCH_NORM, 'ReLU', 1e-5, IMAGENET),
    *_entries(MOBILENET_V2, 'ReLU6', 1e-5, IMAGENET),
    *_entries(MOBILENET_V3, 'HSwish', 1e-3, IMAGENET),
    *_entries(INCEPTION_V1, 'ReLU', 1e-3, SYMMETRIC),
    *_entries(INCEPTION_V3, 'ReLU', 1e-3, SYMMETRIC_299),
    *_entries(EFFICIENTNET, 'SiLU', 1e-5, IMAGENET),
    *_entries(EFFICIENTNET_LARGE, 'SiLU', 1e-3, IMAGENET),
]
