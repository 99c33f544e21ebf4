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
INCEPTION_V1: list[Rule] = []

# InceptionV3: which layer is which.
INCEPTION_V3: list[Rule] = []

# MobileNetV2: which layer is which.
MOBILENET_V2: list[Rule] = []

# MobileNetV3: which layer is which.
MOBILENET_V3: list[Rule] = []

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
