"""Weights of keras.applications: which of its layers is which of ours, and how its arrays lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from mmcnn.registry import BACKBONE_FAMILIES
from mmcnn.weights.checkpoint import CheckpointError
from mmcnn.weights.translate import Rule, translate

# DenseNet: which layer is which.
DENSENET: list[Rule] = []

# EfficientNet: which layer is which.
EFFICIENTNET: list[Rule] = []

# Our names of the convolutions of Inception-ResNet v2 that Keras only numbers, in the order of the numbers.
_INCEPTION_RESNET_CONVS = (
    *('stem.0', 'stem.1', 'stem.2', 'stage2.1', 'stage2.2'),
    *(f'stage3.1.{layer}' for layer in ('0.0', '1.0', '1.1', '2.0', '2.1', '2.2', '3.1')),
    *(f'stage3.{i}.branches.0.{layer}' for i in range(2, 12) for layer in ('0.0', '1.0', '1.1', '2.0', '2.1', '2.2')),
    *(f'stage4.0.{layer}' for layer in ('0.0', '1.0', '1.1', '1.2')),
    *(f'stage4.{i}.branches.0.{layer}' for i in range(1, 21) for layer in ('0.0', '1.0', '1.1', '1.2')),
    *(f'stage5.0.{layer}' for layer in ('0.0', '0.1', '1.0', '1.1', '2.0', '2.1', '2.2')),
    *(f'stage5.{i}.branches.0.{layer}' for i in range(1, 11) for layer in ('0.0', '1.0', '1.1', '1.2')),
)

# InceptionResNet: which layer is which.
INCEPTION_RESNET: list[Rule] = [
    (r'conv2d_(\d+)', lambda match: f'backbone.{_INCEPTION_RESNET_CONVS[int(match[1])]}.conv'),
    (r'batch_normalization_(\d+)', lambda match: f'backbone.{_INCEPTION_RESNET_CONVS[int(match[1])]}.bn'),
    (r'block35_(\d+)_conv', lambda match: f'backbone.stage3.{int(match[1]) + 1}.project'),
    (r'block17_(\d+)_conv', r'backbone.stage4.\1.project'),
    (r'block8_(\d+)_conv', r'backbone.stage5.\1.project'),
    (r'conv_7b', 'top.conv.conv'),
    (r'conv_7b_bn', 'top.conv.bn'),
    (r'predictions', 'top.classes'),
]

# The same of Inception v3.
_INCEPTION_V3_CONVS = (
    *('stem.0', 'stem.1', 'stem.2', 'stage2.1', 'stage2.2'),
    *(f'stage3.{i}.{layer}' for i in (1, 2, 3) for layer in ('0.0', '1.0', '1.1', '2.0', '2.1', '2.2', '3.1')),
    *(f'stage4.0.{layer}' for layer in ('0.0', '1.0', '1.1', '1.2')),
    *(
        f'stage4.{i}.{layer}'
        for i in (1, 2, 3, 4)
        for layer in ('0.0', '1.0', '1.1', '1.2', '2.0', '2.1', '2.2', '2.3', '2.4', '3.1')
    ),
    *(f'stage5.0.{layer}' for layer in ('0.0', '0.1', '1.0', '1.1', '1.2', '1.3')),
    *(
        f'stage5.{i}.{layer}'
        for i in (1, 2)
        for layer in ('0.0', '1.0', '1.1.0.0', '1.1.1.0', '2.0', '2.1', '2.2.0.0', '2.2.1.0', '3.1')
    ),
)

# InceptionV3: which layer is which.
INCEPTION_V3: list[Rule] = [
    (r'conv2d_(\d+)', lambda match: f'backbone.{_INCEPTION_V3_CONVS[int(match[1])]}.conv'),
    (r'batch_normalization_(\d+)', lambda match: f'backbone.{_INCEPTION_V3_CONVS[int(match[1])]}.bn'),
    (r'predictions', 'top.classes'),
]

# MobileNetV1: which layer is which.
MOBILENET_V1: list[Rule] = []

# MobileNetV2: which layer is which.
MOBILENET_V2: list[Rule] = []

# MobileNetV3: which layer is which.
MOBILENET_V3: list[Rule] = []

# ResNet: which layer is which.
RESNET: list[Rule] = []

# ResNetV2: which layer is which.
RESNET_V2: list[Rule] = []

# VGG: which layer is which.
VGG: list[Rule] = []

# Xception: which layer is which.
XCEPTION: list[Rule] = []


# Layer names of Keras -> layer names of mmcnn.Classifier, a list for each of our families. The pointwise half of a
# SeparableConv2D is found under its layer's name with '/pointwise' behind it. Layers that Keras numbers by itself
# ('conv2d_93') are numbered from 0 here, in each kind: 'conv2d' is 'conv2d_0'.
RULES: dict[str, list[Rule]] = {
    'DenseNet': DENSENET,
    'EfficientNet': EFFICIENTNET,
    'InceptionResNet': INCEPTION_RESNET,
    'InceptionV3': INCEPTION_V3,
    'MobileNetV1': MOBILENET_V1,
    'MobileNetV2': MOBILENET_V2,
    'MobileNetV3': MOBILENET_V3,
    'ResNet': RESNET,
    'ResNetV2': RESNET_V2,
    'VGG': VGG,
    'Xception': XCEPTION,
}

#: What no rule on names can say, for a family: VGG's flattening order, a 1x1 convolution that is a linear layer here.
FIXES: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {}

#: Keras's names of vectors -> ours.
VECTORS = {
    'bias': 'bias',
    'gamma': 'weight',
    'beta': 'bias',
    'moving_mean': 'running_mean',
    'moving_variance': 'running_var',
}


def from_keras(state: Mapping[str, Tensor], variant: str) -> dict[str, Tensor]:
    """Arrays of a keras.applications model as a state dict of :class:`~mmcnn.models.classifiers.Classifier`.

    Args:
        state: ``'LAYER.ARRAY'`` to tensor in Keras's layout, ``'block1_conv1.kernel'`` (H, W, C_in, C_out).
        variant: short name of our network.

    Raises:
        CheckpointError: Keras has no network of this family, or a layer has no counterpart here.
    """
    family = BACKBONE_FAMILIES[variant].__name__
    if family not in RULES:
        raise CheckpointError(f'Keras has no weights for {variant}; it has some for {", ".join(sorted(RULES))}')
    arrays = dict(_to_torch(key, value) for key, value in state.items())
    renamed = translate(arrays, RULES[family])
    if fix := FIXES.get(family):
        renamed = fix(renamed)
    return renamed


def _to_torch(key: str, value: Tensor) -> tuple[str, Tensor]:
    layer, _, array = key.rpartition('.')
    if array == 'depthwise_kernel':  # (H, W, C, M) to (C * M, 1, H, W)
        height, width, channels, multiplier = value.shape
        return f'{layer}.weight', value.permute(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    if array in ('kernel', 'pointwise_kernel'):  # (H, W, C_in, C_out) or (F_in, F_out)
        layer += '/pointwise' if array == 'pointwise_kernel' else ''
        return f'{layer}.weight', value.permute(3, 2, 0, 1) if value.ndim == 4 else value.t()
    if array not in VECTORS:
        raise CheckpointError(f"'{key}' is no array of a known Keras layer")
    return f'{layer}.{VECTORS[array]}', value
