"""Weights of torchvision's classifiers: which of its layers is which of ours."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mmcnn.registry import BACKBONE_FAMILIES
from mmcnn.weights.checkpoint import CheckpointError
from mmcnn.weights.translate import Rule, translate

# DenseNet: which layer is which.
DENSENET: list[Rule] = []

# EfficientNet: which layer is which.
EFFICIENTNET: list[Rule] = []

# InceptionV1: which layer is which.
GOOGLENET_BRANCHES = {'1': '1x1', '2': '3x3', '3': '5x5', '4': '_pool'}
INCEPTION_V1: list[Rule] = [
    (r'conv1\.(\w+)', r'backbone.stage1.\1'),
    (r'conv2\.(\w+)', r'backbone.stage2.reduce.\1'),
    (r'conv3\.(\w+)', r'backbone.stage2.conv.\1'),
    (
        r'inception(\d)([a-e])\.branch(\d)(.*)',
        lambda m: f'backbone.stage{m[1]}.{"abcde".index(m[2])}.branch{GOOGLENET_BRANCHES[m[3]]}{m[4]}',
    ),
    (r'aux[12]\..*', None),
    ('fc', 'top.classes'),
]

# InceptionV3: which layer is which.
INCEPTION_V3_MODULES = {
    **{f'5{letter}': f'stage3.{i}' for i, letter in enumerate('bcd')},
    '6a': 'reduction4',
    **{f'6{letter}': f'stage4.{i}' for i, letter in enumerate('bcde')},
    '7a': 'reduction5',
    **{f'7{letter}': f'stage5.{i}' for i, letter in enumerate('bc')},
}
INCEPTION_V3_FORK = {'': '', 'a': '.branch1x3', 'b': '.branch3x1'}
INCEPTION_V3: list[Rule] = [
    (r'Conv2d_1a_3x3\.(\w+)', r'backbone.stage1.0.\1'),
    (r'Conv2d_2a_3x3\.(\w+)', r'backbone.stage1.1.\1'),
    (r'Conv2d_2b_3x3\.(\w+)', r'backbone.stage1.2.\1'),
    (r'Conv2d_3b_1x1\.(\w+)', r'backbone.stage2.0.\1'),
    (r'Conv2d_4a_3x3\.(\w+)', r'backbone.stage2.1.\1'),
    (
        r'Mixed_(..)\.(branch\w+?)_(\d)([ab]?)\.(\w+)',
        lambda m: f'backbone.{INCEPTION_V3_MODULES[m[1]]}.{m[2]}.{int(m[3]) - 1}{INCEPTION_V3_FORK[m[4]]}.{m[5]}',
    ),
    (r'Mixed_(..)\.branch_pool\.(\w+)', lambda m: f'backbone.{INCEPTION_V3_MODULES[m[1]]}.branch_pool.1.{m[2]}'),
    (r'Mixed_(..)\.(branch\w+\.\w+)', lambda m: f'backbone.{INCEPTION_V3_MODULES[m[1]]}.{m[2]}'),
    (r'AuxLogits\..*', None),
    ('fc', 'top.classes'),
]

# MobileNetV2: which layer is which.
MOBILENET_V2: list[Rule] = []

# MobileNetV3: which layer is which.
MOBILENET_V3: list[Rule] = []

# ResNeXt: which layer is which.
RESNEXT: list[Rule] = []

# ResNet: which layer is which.
RESNET: list[Rule] = []

# VGG: which layer is which.
VGG: list[Rule] = []


# Layer names of torchvision -> layer names of mmcnn.Classifier, a list for each of our families.
RULES: dict[str, list[Rule]] = {
    'DenseNet': DENSENET,
    'EfficientNet': EFFICIENTNET,
    'InceptionV1': INCEPTION_V1,
    'InceptionV3': INCEPTION_V3,
    'MobileNetV2': MOBILENET_V2,
    'MobileNetV3': MOBILENET_V3,
    'ResNeXt': RESNEXT,
    'ResNet': RESNET,
    'VGG': VGG,
}


def from_torchvision(state: Mapping[str, Tensor], variant: str) -> dict[str, Tensor]:
    """A state dict of torchvision's classifier as one of :class:`~mmcnn.models.classifiers.Classifier`.

    Args:
        state: name to tensor, as ``torchvision`` saves it.
        variant: short name of our network.

    Raises:
        CheckpointError: torchvision has no network of this family, or a key has no counterpart here.
    """
    family = BACKBONE_FAMILIES[variant].__name__
    if family not in RULES:
        raise CheckpointError(f'torchvision has no weights for {variant}; it has some for {", ".join(sorted(RULES))}')
    return translate(state, RULES[family])
