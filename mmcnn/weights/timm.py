"""Weights of timm's classifiers: which of its layers is which of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mmcnn.registry import BACKBONE_FAMILIES
from mmcnn.weights.checkpoint import CheckpointError
from mmcnn.weights.translate import Rule, translate

# CSPDarknet and CSPResNet: which layer is which.
CSP_PARTS = dict(conv_down='down', conv_exp='expand', conv_transition_b='post', conv_transition='final')
CSP: list[Rule] = [
    (r'stem\.conv1\.(conv|bn)', r'backbone.stem.\1'),
    (
        r'stages\.(\d)\.(conv_\w+)\.(conv|bn)',
        lambda m: f'backbone.stage{int(m[1]) + 1}.{CSP_PARTS[m[2]]}.{m[3]}',
    ),
    (r'stages\.(\d)\.(blocks\..*)', lambda m: f'backbone.stage{int(m[1]) + 1}.{m[2]}'),
    (r'head\.fc', 'top.classes'),
]


def _two_paths(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """CSPDarknet's two paths are one convolution in timm, [short, main], and are concatenated in that order.

    Here they are two convolutions, and the main path comes first, as in Darknet.
    """
    split = {}
    for key, value in state.items():
        if '.expand.' in key:
            short, main = value.chunk(2) if value.ndim else (value, value)  # the counter of batches is a number
            split[key.replace('expand', 'short')], split[key.replace('expand', 'main')] = short, main
        elif key.endswith('.final.conv.weight'):
            split[key] = torch.cat(value.chunk(2, dim=1)[::-1], dim=1)
        else:
            split[key] = value
    return split


# Darknet: which layer is which.
DARKNET: list[Rule] = [
    (r'stem\.conv1\.(conv|bn)', r'backbone.stem.\1'),
    (r'stages\.(\d)\.conv_down\.(conv|bn)', lambda m: f'backbone.stage{int(m[1]) + 1}.0.{m[2]}'),
    (
        r'stages\.(\d)\.blocks\.(\d+)\.(.*)',
        lambda m: f'backbone.stage{int(m[1]) + 1}.{int(m[2]) + 1}.{m[3]}',
    ),
    (r'head\.fc', 'top.classes'),
]

# DenseNet: which layer is which.
DENSENET: list[Rule] = []

# EfficientNet: which layer is which.
EFFICIENTNET: list[Rule] = []

# InceptionResNet: which layer is which.
INCEPTION_RESNET: list[Rule] = []

# InceptionV4: which layer is which.
INCEPTION_V4: list[Rule] = []

# ResNeXt: which layer is which.
RESNEXT: list[Rule] = []

# VoVNet: which layer is which.
VOVNET: list[Rule] = []

# Xception: which layer is which. timm's block 1 is Keras's and ours 2; in a block an activation (not in the first), a
# separable convolution and a norm follow each other.
XCEPTION_PARTS = {'.conv1': 'depthwise', '.pointwise': 'pointwise.conv', None: 'pointwise.bn'}
XCEPTION: list[Rule] = [
    (r'(conv|bn)([12])', lambda m: f'backbone.stem.{int(m[2]) - 1}.{m[1]}'),
    (r'block(\d+)\.skip', lambda m: f'backbone.block{int(m[1]) + 1}.shortcut.conv'),
    (r'block(\d+)\.skipbn', lambda m: f'backbone.block{int(m[1]) + 1}.shortcut.bn'),
    (
        r'block(\d+)\.rep\.(\d)(\.\w+)?',
        lambda m: f'backbone.block{int(m[1]) + 1}.convs.{int(m[2]) // 3}.{XCEPTION_PARTS[m[3]]}',
    ),
    (r'conv([34])(\.\w+)', lambda m: f'backbone.block14.{int(m[1]) - 3}.{XCEPTION_PARTS[m[2]]}'),
    (r'bn([34])', lambda m: f'backbone.block14.{int(m[1]) - 3}.pointwise.bn'),
    ('fc', 'top.classes'),
]


# Layer names of timm -> layer names of mmcnn.Classifier, a list for each of our families.
RULES: dict[str, list[Rule]] = {
    'CSPDarknet': CSP,
    'CSPResNet': CSP,
    'Darknet': DARKNET,
    'DenseNet': DENSENET,
    'EfficientNet': EFFICIENTNET,
    'InceptionResNet': INCEPTION_RESNET,
    'InceptionV4': INCEPTION_V4,
    'ResNeXt': RESNEXT,
    'VoVNet': VOVNET,
    'Xception': XCEPTION,
}

#: What no rule on names can say, for a family.
FIXES: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    'CSPDarknet': _two_paths,
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
    renamed = translate(state, RULES[family])
    if fix := FIXES.get(family):
        renamed = fix(renamed)
    return renamed
