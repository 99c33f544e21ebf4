"""Weights of timm's classifiers: which of its layers is which of ours."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mmcnn.registry import BACKBONE_FAMILIES
from mmcnn.weights.checkpoint import CheckpointError
from mmcnn.weights.translate import Rule, translate

# CSPDarknet: which layer is which.
CSP_DARKNET: list[Rule] = []

# CSPResNet: which layer is which.
CSP_RESNET: list[Rule] = []

# Darknet: which layer is which.
DARKNET: list[Rule] = []

# DenseNet: which layer is which.
DENSENET: list[Rule] = []

# EfficientNet: which layer is which.
EFFICIENTNET: list[Rule] = []

# InceptionResNet: which layer is which.
INCEPTION_RESNET: list[Rule] = []

# InceptionV4: which layer is which.
INCEPTION_V4: list[Rule] = []

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

# VoVNet: which layer is which.
VOVNET: list[Rule] = []

# Xception: which layer is which.
XCEPTION: list[Rule] = []


# Layer names of timm -> layer names of mmcnn.Classifier, a list for each of our families.
RULES: dict[str, list[Rule]] = {
    'CSPDarknet': CSP_DARKNET,
    'CSPResNet': CSP_RESNET,
    'Darknet': DARKNET,
    'DenseNet': DENSENET,
    'EfficientNet': EFFICIENTNET,
    'InceptionResNet': INCEPTION_RESNET,
    'InceptionV4': INCEPTION_V4,
    'ResNeXt': RESNEXT,
    'VoVNet': VOVNET,
    'Xception': XCEPTION,
}


def from_timm(state: Mapping[str, Tensor], variant: str) -> dict[str, Tensor]:
    """A state dict of timm's classifier as one of :class:`~mmcnn.models.classifiers.Classifier`.

    Args:
        state: name to tensor, as ``timm`` saves it.
        variant: short name of our network.

    Raises:
        CheckpointError: timm has no network of this family, or a key has no counterpart here.
    """
    family = BACKBONE_FAMILIES[variant].__name__
    if family not in RULES:
        raise CheckpointError(f'timm has no weights for {variant}; it has some for {", ".join(sorted(RULES))}')
    return translate(state, RULES[family])
