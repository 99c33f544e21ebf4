"""Weights of torchvision's classifiers: the mapping of its layers to ours, and its published files.

Licence: its README names none and refers to the terms of the training data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from mmcnn.image_format import IMAGENET, SYMMETRIC, SYMMETRIC_299, ImageFormat
from mmcnn.models.families import backbone_families
from mmcnn.weights.sources.published import Published
from mmcnn.weights.sources.translate import Rule, Source, Translation

if TYPE_CHECKING:
    from mmcnn.models.backbones.row import Row


def _dense_layer(m: re.Match) -> str:
    return f'backbone.stage{int(m[1]) + 1}.block.layer{m[2]}'


# Mapping of DenseNet's layers. Its first dense block is of level 2 here, its first transition opens level 3; the
# published files are older than the names and have a dot before the number (norm.1).
DENSENET: list[Rule] = [
    (r'features\.conv0', r'backbone.stem.conv'),
    (r'features\.norm0', r'backbone.stem.bn'),
    (r'features\.denseblock(\d)\.denselayer(\d+)\.norm\.?1', lambda m: f'{_dense_layer(m)}.pre.bn'),
    (r'features\.denseblock(\d)\.denselayer(\d+)\.conv\.?1', lambda m: f'{_dense_layer(m)}.conv1.conv'),
    (r'features\.denseblock(\d)\.denselayer(\d+)\.norm\.?2', lambda m: f'{_dense_layer(m)}.conv1.bn'),
    (r'features\.denseblock(\d)\.denselayer(\d+)\.conv\.?2', lambda m: f'{_dense_layer(m)}.conv2'),
    (r'features\.transition(\d)\.norm', lambda m: f'backbone.stage{int(m[1]) + 2}.transition.pre.bn'),
    (r'features\.transition(\d)\.conv', lambda m: f'backbone.stage{int(m[1]) + 2}.transition.conv'),
    (r'features\.norm5', r'backbone.stage5.final.bn'),
    (r'classifier', r'top.classes'),
]


def _conv_bn(pattern: str, ours: str) -> list[Rule]:
    """Return rules for torchvision's Conv2dNormActivation, whose layers are called 0 and 1."""
    return [(rf'{pattern}\.0', f'{ours}.conv'), (rf'{pattern}\.1', f'{ours}.bn')]


# Mapping of EfficientNet's layers.
EFFICIENTNET: list[Rule] = [
    *_conv_bn(r'features\.0', r'backbone.stem'),
    *_conv_bn(r'features\.8', r'top.conv'),
    # Stage 1 has no expansion, so its layers are one number lower.
    *_conv_bn(r'features\.1\.(\d+)\.block\.0', r'backbone.stage1.\1.depthwise'),
    *_conv_bn(r'features\.1\.(\d+)\.block\.2', r'backbone.stage1.\1.project'),
    *_conv_bn(r'features\.(\d)\.(\d+)\.block\.0', r'backbone.stage\1.\2.expand'),
    *_conv_bn(r'features\.(\d)\.(\d+)\.block\.1', r'backbone.stage\1.\2.depthwise'),
    *_conv_bn(r'features\.(\d)\.(\d+)\.block\.3', r'backbone.stage\1.\2.project'),
    (r'features\.(\d)\.(\d+)\.block\.\d\.fc1', r'backbone.stage\1.\2.excite.reduce'),
    (r'features\.(\d)\.(\d+)\.block\.\d\.fc2', r'backbone.stage\1.\2.excite.expand'),
    (r'classifier\.1', r'top.classes'),
]


def _inception_v1(match: re.Match) -> str:
    """Return GoogLeNet's modules after the pool that opens their stage; a branch's only layer has no number."""
    module, branch = 'abcde'.index(match['letter']) + 1, int(match['branch']) - 1
    return f'backbone.stage{match["stage"]}.{module}.{branch}.{match["layer"] or 0}.{match["part"]}'


# Mapping of InceptionV1's layers.
INCEPTION_V1: list[Rule] = [
    (r'conv1\.(conv|bn)', r'backbone.stem.0.\1'),
    (r'conv([23])\.(conv|bn)', lambda match: f'backbone.stage2.{int(match[1]) - 1}.{match[2]}'),
    (
        r'inception(?P<stage>\d)(?P<letter>[a-e])\.branch(?P<branch>\d)\.(?:(?P<layer>\d)\.)?(?P<part>conv|bn)',
        _inception_v1,
    ),
    (r'aux[12]\..*', None),
    (r'fc', 'top.classes'),
]

_INCEPTION_V3_BRANCHES = {'1x1': 0, '3x3': 1, '5x5': 1, '7x7': 1, '3x3dbl': 2, '7x7dbl': 2, '7x7x3': 2, '_pool': 3}


def _inception_v3(match: re.Match) -> str:
    """Return Inception v3's modules: 'Mixed_7b.branch3x3_2a' is stage 5's module 1, branch 1, layer 1, first fork."""
    module = 'abcde'.index(match['letter'])
    branch = _INCEPTION_V3_BRANCHES[match['branch']] - (module == 0)  # the module that opens a stage has no 1x1 branch
    layer = 1 if match['branch'] == '_pool' else int(match['layer'] or 1) - 1
    way = {'': '', 'a': '.0.0', 'b': '.1.0'}[match['way']]
    return f'backbone.stage{int(match["number"]) - 2}.{module}.{branch}.{layer}{way}.{match["part"]}'


# Mapping of InceptionV3's layers.
INCEPTION_V3: list[Rule] = [
    (r'Conv2d_1a_3x3\.(conv|bn)', r'backbone.stem.0.\1'),
    (r'Conv2d_2a_3x3\.(conv|bn)', r'backbone.stem.1.\1'),
    (r'Conv2d_2b_3x3\.(conv|bn)', r'backbone.stem.2.\1'),
    (r'Conv2d_3b_1x1\.(conv|bn)', r'backbone.stage2.1.\1'),
    (r'Conv2d_4a_3x3\.(conv|bn)', r'backbone.stage2.2.\1'),
    (
        r'Mixed_(?P<number>\d)(?P<letter>[a-e])\.branch(?P<branch>[\dx]+(?:dbl)?|_pool)(?:_(?P<layer>\d))?(?P<way>[ab]?)'
        r'\.(?P<part>conv|bn)',
        _inception_v3,
    ),
    (r'AuxLogits\..*', None),
    (r'fc', 'top.classes'),
]

# Mapping of MobileNetV2's layers.
MOBILENET_V2: list[Rule] = [
    *_conv_bn(r'features\.0', r'backbone.stem'),
    *_conv_bn(r'features\.18', r'top.conv'),
    # Block 1 has no expansion, so its layers are one number lower.
    *_conv_bn(r'features\.1\.conv\.0', r'backbone.block1.depthwise'),
    (r'features\.1\.conv\.1', r'backbone.block1.project.conv'),
    (r'features\.1\.conv\.2', r'backbone.block1.project.bn'),
    *_conv_bn(r'features\.(\d+)\.conv\.0', r'backbone.block\1.expand'),
    *_conv_bn(r'features\.(\d+)\.conv\.1', r'backbone.block\1.depthwise'),
    (r'features\.(\d+)\.conv\.2', r'backbone.block\1.project.conv'),
    (r'features\.(\d+)\.conv\.3', r'backbone.block\1.project.bn'),
    (r'classifier(?:\.1)?', r'top.classes'),
]
# The layers of a block in the form before torchvision's release: one flat sequence with activations counted. The
# number there -> the name today; for block 1, then for the others.
_FLAT_FIRST = {'0': '0.0', '1': '0.1', '3': '1', '4': '2'}
_FLAT = {'0': '0.0', '1': '0.1', '3': '1.0', '4': '1.1', '6': '2', '7': '3'}


def _prepare(state: Mapping[str, Tensor], row: Row) -> Translation:
    """Rename the blocks of MobileNetV2's older form to today's names."""
    if 'features.1.conv.0.weight' not in state:
        return Translation(dict(state))
    renamed = {}
    for key, value in state.items():
        if match := re.fullmatch(r'features\.(\d+)\.conv\.(\d)\.(\w+)', key):
            block, layer, kind = match.groups()
            layer = (_FLAT_FIRST if block == '1' else _FLAT).get(layer, f'unknown.{layer}')
            key = f'features.{block}.conv.{layer}.{kind}'
        renamed[key] = value
    return Translation(renamed, notes=["the names are of MobileNetV2's form before torchvision's"])


# Mapping of MobileNetV3's layers.
MOBILENET_V3: list[Rule] = [
    *_conv_bn(r'features\.0', r'backbone.stem'),
    *_conv_bn(r'features\.(?:12|16)', r'top.conv'),  # after the 11 blocks of Small or the 15 of Large
    # Block 1 has no expansion, so its layers are one number lower; squeeze-excite shifts only the layers after it.
    *_conv_bn(r'features\.1\.block\.0', r'backbone.block1.depthwise'),
    *_conv_bn(r'features\.1\.block\.[12]', r'backbone.block1.project'),
    *_conv_bn(r'features\.(\d+)\.block\.0', r'backbone.block\1.expand'),
    *_conv_bn(r'features\.(\d+)\.block\.1', r'backbone.block\1.depthwise'),
    *_conv_bn(r'features\.(\d+)\.block\.[23]', r'backbone.block\1.project'),
    (r'features\.(\d+)\.block\.[12]\.fc1', r'backbone.block\1.excite.reduce'),
    (r'features\.(\d+)\.block\.[12]\.fc2', r'backbone.block\1.excite.expand'),
    (r'classifier\.0', r'top.hidden.0'),
    (r'classifier\.3', r'top.classes'),
]

# Mapping of ResNeXt's layers.
RESNEXT: list[Rule] = [
    (r'conv1', r'backbone.stem.conv'),
    (r'bn1', r'backbone.stem.bn'),
    (r'layer(\d)\.(\d+)\.conv(\d)', r'backbone.stage\1.blocks.\2.conv\3.conv'),
    (r'layer(\d)\.(\d+)\.bn(\d)', r'backbone.stage\1.blocks.\2.conv\3.bn'),
    (r'layer(\d)\.(\d+)\.downsample\.0', r'backbone.stage\1.blocks.\2.shortcut.conv'),
    (r'layer(\d)\.(\d+)\.downsample\.1', r'backbone.stage\1.blocks.\2.shortcut.bn'),
    (r'fc', r'top.classes'),
]

# ResNet: the same names.
RESNET: list[Rule] = RESNEXT


def vgg_features(variant: str) -> list[Rule]:
    """Return VGG's trunk: convolutions, norms, activations and pools are counted in one sequence, by row."""
    row, index = backbone_families()[variant].variants[variant], 0
    rules: list[Rule] = []
    for level, depth in enumerate(row.depths):
        for i in range(1, depth + 1):
            rules.append((rf'features\.{index}', rf'backbone.stage{level}.conv{i}.conv'))
            if row.norm is not None:
                index += 1
                rules.append((rf'features\.{index}', rf'backbone.stage{level}.conv{i}.bn'))
            index += 2  # the activation, then the next layer
        index += 1  # the pool
    return rules


# Mapping of VGG's top.
VGG_TOP: list[Rule] = [
    (r'classifier\.0', 'top.hidden.0'),
    (r'classifier\.3', 'top.hidden.1'),
    (r'classifier\.6', 'top.classes'),
]


def vgg_rules(variant: str) -> list[Rule]:
    """Return the rules for a VGG."""
    return [*vgg_features(variant), *VGG_TOP]


# Layer names of torchvision -> layer names of mmcnn.Classifier, a list for each of our families, or a function that
# returns the list for a network.
RULES: dict[str, list[Rule] | Callable[[str], list[Rule]]] = {
    'DenseNet': DENSENET,
    'EfficientNet': EFFICIENTNET,
    'InceptionV1': INCEPTION_V1,
    'InceptionV3': INCEPTION_V3,
    'MobileNetV2': MOBILENET_V2,
    'MobileNetV3': MOBILENET_V3,
    'ResNeXt': RESNEXT,
    'ResNet': RESNET,
    'VGG': vgg_rules,
}


#: Properties of torchvision's networks that no tensor shows. The others also differ from our other rows in tensors.
DEMANDS = {
    'DenseNet': dict(norm=dict(eps=1e-5)),
    'EfficientNet': dict(padding=None),
    'MobileNetV2': dict(padding=None),
    'MobileNetV3': dict(padding=None),
}


SOURCE = Source('torchvision', RULES, demands=DEMANDS, prepare=_prepare, images={'VGG': IMAGENET})


# The published ImageNet weights; the file names contain 8 digits of the SHA-256.

FOLDER = 'https://download.pytorch.org/models/'
RESULTS = 'https://docs.pytorch.org/vision/stable/models.html'

# Model, version of the weights, file, top-1. All files of a table have the same image size, 299 or 224 pixels.
VGG_FILES = [
    ('vgg11', 1, 'vgg11-8a719046', 69.02),
    ('vgg13', 1, 'vgg13-19584684', 69.928),
    ('vgg16', 1, 'vgg16-397923af', 71.592),  # the rows vgg16 and vgg19 have Keras's image format; this is torchvision's
    ('vgg19', 1, 'vgg19-dcbb9e9d', 72.376),
]
BATCH_NORM_FILES = [
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
MOBILENET_V2_FILES = [
    ('mobilenetv2-tv', 1, 'mobilenet_v2-b0353104', 71.878),
    ('mobilenetv2-tv', 2, 'mobilenet_v2-7ebf99e0', 72.154),
]
MOBILENET_V3_FILES = [
    ('mobilenetv3-small-tv', 1, 'mobilenet_v3_small-047dcff4', 67.668),
    ('mobilenetv3-large-tv', 1, 'mobilenet_v3_large-8738ca79', 74.042),
    ('mobilenetv3-large-tv', 2, 'mobilenet_v3_large-5c1a4163', 75.274),
]
# TensorFlow's weights: torchvision converts its own image format to theirs inside the model.
INCEPTION_V1_FILES = [('inceptionv1-tv', 1, 'googlenet-1378be20', 69.778)]
INCEPTION_V3_FILES = [('inceptionv3-tv', 1, 'inception_v3_google-0cc3c7bd', 77.294)]

# The same with the image size.
EFFICIENTNET_FILES = [
    ('efficientnet-b0-tv', 1, 'efficientnet_b0_rwightman-7f5810bc', 77.692, 224),
    ('efficientnet-b1-tv', 1, 'efficientnet_b1_rwightman-bac287d4', 78.642, 240),
    ('efficientnet-b1-tv', 2, 'efficientnet_b1-c27df63c', 79.838, 240),
    ('efficientnet-b2-tv', 1, 'efficientnet_b2_rwightman-c35c1473', 80.608, 288),
    ('efficientnet-b3-tv', 1, 'efficientnet_b3_rwightman-b3899882', 82.008, 300),
    ('efficientnet-b4-tv', 1, 'efficientnet_b4_rwightman-23ab8bcd', 83.384, 380),
]
EFFICIENTNET_LARGE_FILES = [
    ('efficientnet-b5-tv', 1, 'efficientnet_b5_lukemelas-1a07897c', 83.444, 456),
    ('efficientnet-b6-tv', 1, 'efficientnet_b6_lukemelas-24a108a5', 84.008, 528),
    ('efficientnet-b7-tv', 1, 'efficientnet_b7_lukemelas-c5b4e57e', 84.122, 600),
]


def _entries(rows: list[tuple], activation: str, eps: float | None, image: ImageFormat) -> Iterator[Published]:
    for model, version, file, top1, *size in rows:
        yield Published(
            name=f'{model}/torchvision-v{version}',
            model=model,
            library='torchvision',
            urls=(f'{FOLDER}{file}.pth',),
            hash_prefix=file.rpartition('-')[2],
            top=True,
            image=replace(image, size=size[0]) if size else image,
            activation=activation,
            norm_eps=eps,
            metric=f'top-1 {top1}',
            source=RESULTS,
        )


ENTRIES = [
    *_entries(VGG_FILES, 'ReLU', None, IMAGENET),
    *_entries(BATCH_NORM_FILES, 'ReLU', 1e-5, IMAGENET),
    *_entries(MOBILENET_V2_FILES, 'ReLU6', 1e-5, IMAGENET),
    *_entries(MOBILENET_V3_FILES, 'HSwish', 1e-3, IMAGENET),
    *_entries(INCEPTION_V1_FILES, 'ReLU', 1e-3, SYMMETRIC),
    *_entries(INCEPTION_V3_FILES, 'ReLU', 1e-3, SYMMETRIC_299),
    *_entries(EFFICIENTNET_FILES, 'SiLU', 1e-5, IMAGENET),
    *_entries(EFFICIENTNET_LARGE_FILES, 'SiLU', 1e-3, IMAGENET),
]
