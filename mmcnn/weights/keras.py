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
EFFICIENTNET: list[Rule] = [
    (r'(stem|top)_(conv|bn)', lambda m: dict(stem='backbone.stem.', top='top.conv.')[m[1]] + m[2]),
    *(
        (rf'block(\d)([a-z])_{theirs}', lambda m, ours=ours: f'backbone.stage{m[1]}.{ord(m[2]) - ord("a")}.{ours}')
        for theirs, ours in {
            'expand_conv': 'expand.conv',
            'expand_bn': 'expand.bn',
            'dwconv': 'depthwise.conv',
            'bn': 'depthwise.bn',
            'se_reduce': 'excite.reduce',
            'se_expand': 'excite.expand',
            'project_conv': 'project.conv',
            'project_bn': 'project.bn',
        }.items()
    ),
    (r'predictions', r'top.classes'),
]

# InceptionResNet: which layer is which.
INCEPTION_RESNET: list[Rule] = []

# InceptionV3: which layer is which.
INCEPTION_V3: list[Rule] = []

# MobileNetV1: which layer is which.
MOBILENET_V1: list[Rule] = [
    (r'conv1', r'backbone.stem.conv'),
    (r'conv1_bn', r'backbone.stem.bn'),
    (r'conv_dw_(\d+)', r'backbone.block\1.depthwise.conv'),
    (r'conv_dw_(\d+)_bn', r'backbone.block\1.depthwise.bn'),
    (r'conv_pw_(\d+)', r'backbone.block\1.pointwise.conv'),
    (r'conv_pw_(\d+)_bn', r'backbone.block\1.pointwise.bn'),
    (r'conv_preds', r'top.classes'),
]

# MobileNetV2: which layer is which.
MOBILENET_V2: list[Rule] = [
    (r'Conv1', r'backbone.stem.conv'),
    (r'bn_Conv1', r'backbone.stem.bn'),
    (r'expanded_conv_(depthwise|project)', r'backbone.block1.\1.conv'),
    (r'expanded_conv_(depthwise|project)_BN', r'backbone.block1.\1.bn'),
    (r'block_(\d+)_(expand|depthwise|project)', lambda m: f'backbone.block{int(m[1]) + 1}.{m[2]}.conv'),
    (r'block_(\d+)_(expand|depthwise|project)_BN', lambda m: f'backbone.block{int(m[1]) + 1}.{m[2]}.bn'),
    (r'Conv_1', r'top.conv.conv'),
    (r'Conv_1_bn', r'top.conv.bn'),
    (r'predictions', r'top.classes'),
]

# MobileNetV3: which layer is which.
MOBILENET_V3: list[Rule] = [
    (r'conv', r'backbone.stem.conv'),
    (r'conv_bn', r'backbone.stem.bn'),
    *(
        (rf'expanded_conv(?:_(\d+))?_{theirs}', lambda m, ours=ours: f'backbone.block{int(m[1] or 0) + 1}.{ours}')
        for theirs, ours in {
            'expand': 'expand.conv',
            'expand_bn': 'expand.bn',
            'depthwise': 'depthwise.conv',
            'depthwise_bn': 'depthwise.bn',
            'squeeze_excite_conv': 'excite.reduce',
            'squeeze_excite_conv_1': 'excite.expand',
            'project': 'project.conv',
            'project_bn': 'project.bn',
        }.items()
    ),
    (r'conv_1', r'top.conv.conv'),
    (r'conv_1_bn', r'top.conv.bn'),
    (r'conv_2', r'top.hidden.0'),
    (r'logits', r'top.classes'),
]

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


def _flatten_linear(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The 1x1 convolutions behind the pool are linear layers here: (C_out, C_in, 1, 1) to (C_out, C_in)."""
    linear = ('top.hidden.0.weight', 'top.classes.weight')
    return {key: value.flatten(1) if key in linear else value for key, value in state.items()}


#: What no rule on names can say, for a family: VGG's flattening order, a 1x1 convolution that is a linear layer here.
FIXES: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    'MobileNetV1': _flatten_linear,
    'MobileNetV3': _flatten_linear,
}

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
    # Keras 2 says 'depthwise_kernel' in every depthwise layer, Keras 3 'kernel' in DepthwiseConv2D. No convolution of
    # the networks here that is larger than 1x1 has one output.
    depthwise = array == 'kernel' and value.ndim == 4 and value.shape[0] > 1 and value.shape[3] == 1
    if depthwise or array == 'depthwise_kernel':  # (H, W, C, M) to (C * M, 1, H, W)
        height, width, channels, multiplier = value.shape
        return f'{layer}.weight', value.permute(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    if array in ('kernel', 'pointwise_kernel'):  # (H, W, C_in, C_out) or (F_in, F_out)
        layer += '/pointwise' if array == 'pointwise_kernel' else ''
        return f'{layer}.weight', value.permute(3, 2, 0, 1) if value.ndim == 4 else value.t()
    if array not in VECTORS:
        raise CheckpointError(f"'{key}' is no array of a known Keras layer")
    return f'{layer}.{VECTORS[array]}', value
