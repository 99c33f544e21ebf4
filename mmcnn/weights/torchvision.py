"""Weights of torchvision's classifiers: which of its layers is which of ours."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mmcnn.registry import BACKBONE_FAMILIES
from mmcnn.weights.checkpoint import CheckpointError
from mmcnn.weights.translate import Rule, translate


def _conv_bn(pattern: str, ours: str) -> list[Rule]:
    """Rules for torchvision's Conv2dNormActivation, whose layers are called 0 and 1."""
    return [(rf'{pattern}\.0', f'{ours}.conv'), (rf'{pattern}\.1', f'{ours}.bn')]


# DenseNet: which layer is which.
DENSENET: list[Rule] = []

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

# InceptionV1: which layer is which.
INCEPTION_V1: list[Rule] = []

# InceptionV3: which layer is which.
INCEPTION_V3: list[Rule] = []

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
