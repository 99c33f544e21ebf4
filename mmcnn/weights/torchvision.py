"""Weights of torchvision's classifiers: which of its layers is which of ours."""

from __future__ import annotations

import re
from collections.abc import Callable

from mmcnn.image_format import IMAGENET
from mmcnn.models.families import backbone_families
from mmcnn.weights.translate import Rule, World


def _dense_layer(m: re.Match) -> str:
    return f'backbone.stage{int(m[1]) + 1}.block.layer{m[2]}'


# DenseNet: which layer is which. Its first dense block is of level 2 here, its first transition opens level 3; the
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
    """Rules for torchvision's Conv2dNormActivation, whose layers are called 0 and 1."""
    return [(rf'{pattern}\.0', f'{ours}.conv'), (rf'{pattern}\.1', f'{ours}.bn')]


# EfficientNet: which layer is which.
EFFICIENTNET: list[Rule] = [
    *_conv_bn(r'features\.0', r'backbone.stem'),
    *_conv_bn(r'features\.8', r'top.conv'),
    # Stage 1 has no expansion, so its layers are one number earlier.
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
    """The modules of GoogLeNet, behind the pool that opens their stage; the only layer of a branch has no number."""
    module, branch = 'abcde'.index(match['letter']) + 1, int(match['branch']) - 1
    return f'backbone.stage{match["stage"]}.{module}.{branch}.{match["layer"] or 0}.{match["part"]}'


# InceptionV1: which layer is which.
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
    """Inception v3's modules: 'Mixed_7b.branch3x3_2a' is stage 5's module 1, branch 1, layer 1, first way of a fork."""
    module = 'abcde'.index(match['letter'])
    branch = _INCEPTION_V3_BRANCHES[match['branch']] - (module == 0)  # what opens a stage has no 1x1 branch
    layer = 1 if match['branch'] == '_pool' else int(match['layer'] or 1) - 1
    way = {'': '', 'a': '.0.0', 'b': '.1.0'}[match['way']]
    return f'backbone.stage{int(match["number"]) - 2}.{module}.{branch}.{layer}{way}.{match["part"]}'


# InceptionV3: which layer is which.
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

# MobileNetV2: which layer is which.
MOBILENET_V2: list[Rule] = [
    *_conv_bn(r'features\.0', r'backbone.stem'),
    *_conv_bn(r'features\.18', r'top.conv'),
    # Block 1 has no expansion, so its layers are one number earlier.
    *_conv_bn(r'features\.1\.conv\.0', r'backbone.block1.depthwise'),
    (r'features\.1\.conv\.1', r'backbone.block1.project.conv'),
    (r'features\.1\.conv\.2', r'backbone.block1.project.bn'),
    *_conv_bn(r'features\.(\d+)\.conv\.0', r'backbone.block\1.expand'),
    *_conv_bn(r'features\.(\d+)\.conv\.1', r'backbone.block\1.depthwise'),
    (r'features\.(\d+)\.conv\.2', r'backbone.block\1.project.conv'),
    (r'features\.(\d+)\.conv\.3', r'backbone.block\1.project.bn'),
    (r'classifier\.1', r'top.classes'),
]

# MobileNetV3: which layer is which.
MOBILENET_V3: list[Rule] = [
    *_conv_bn(r'features\.0', r'backbone.stem'),
    *_conv_bn(r'features\.(?:12|16)', r'top.conv'),  # behind the 11 blocks of Small or the 15 of Large
    # Block 1 has no expansion, so its layers are one number earlier; squeeze-excite shifts only what is behind it.
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

# ResNeXt: which layer is which.
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
    """VGG's trunk: convolutions, norms, activations and pools are counted in one sequence, so the row is needed."""
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


# VGG's top: which layer is which.
VGG_TOP: list[Rule] = [
    (r'classifier\.0', 'top.hidden.0'),
    (r'classifier\.3', 'top.hidden.1'),
    (r'classifier\.6', 'top.classes'),
]


def vgg_rules(variant: str) -> list[Rule]:
    """VGG: which layer is which."""
    return [*vgg_features(variant), *VGG_TOP]


# Layer names of torchvision -> layer names of mmcnn.Classifier, a list for each of our families, or what
# gives the list for a network.
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


#: What torchvision's networks have and no tensor shows. The others differ from our other rows in their tensors, too.
DEMANDS = {
    'DenseNet': dict(norm=dict(eps=1e-5)),
    'EfficientNet': dict(padding=None),
    'MobileNetV2': dict(padding=None),
    'MobileNetV3': dict(padding=None),
}


WORLD = World('torchvision', RULES, demands=DEMANDS, images={'VGG': IMAGENET})
