"""Weights of torchvision's classifiers: which of its layers is which of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from mmcnn.registry import BACKBONE_FAMILIES
from mmcnn.weights.checkpoint import CheckpointError
from mmcnn.weights.translate import Rule, translate

# DenseNet: which layer is which.
DENSENET: list[Rule] = []

# EfficientNet: which layer is which.
EFFICIENTNET: list[Rule] = []


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
