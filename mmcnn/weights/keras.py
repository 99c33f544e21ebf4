"""Weights of keras.applications: which of its layers is which of ours."""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import Tensor

from mmcnn.weights.keras_arrays import prepare, to_torch
from mmcnn.weights.translate import Rule, World

# DenseNet: which layer is which. Its conv2 to conv5 are our levels 2 to 5; pool2 opens level 3.
DENSENET: list[Rule] = [
    (r'conv1[_/](conv|bn)', r'backbone.stem.\1'),
    (r'conv(\d)_block(\d+)_0_bn', r'backbone.stage\1.block.layer\2.pre.bn'),
    (r'conv(\d)_block(\d+)_1_(conv|bn)', r'backbone.stage\1.block.layer\2.conv1.\3'),
    (r'conv(\d)_block(\d+)_2_conv', r'backbone.stage\1.block.layer\2.conv2'),
    (r'pool(\d)_bn', lambda m: f'backbone.stage{int(m[1]) + 1}.transition.pre.bn'),
    (r'pool(\d)_conv', lambda m: f'backbone.stage{int(m[1]) + 1}.transition.conv'),
    (r'bn', r'backbone.stage5.final.bn'),
    (r'predictions|fc1000', r'top.classes'),
]

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
    (r'predictions|probs', r'top.classes'),
]

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
    (r'predictions|Logits', r'top.classes'),
]

# MobileNetV3: which layer is which; tf.keras 2.4 to 2.15 say 'Conv/BatchNorm' where later releases say 'conv_bn'.
_NORM = '(?:_bn|/BatchNorm)'
MOBILENET_V3: list[Rule] = [
    (r'[Cc]onv', r'backbone.stem.conv'),
    (rf'[Cc]onv{_NORM}', r'backbone.stem.bn'),
    *(
        (rf'expanded_conv(?:_(\d+))?[_/]{theirs}', lambda m, ours=ours: f'backbone.block{int(m[1] or 0) + 1}.{ours}')
        for theirs, ours in {
            'expand': 'expand.conv',
            f'expand{_NORM}': 'expand.bn',
            'depthwise': 'depthwise.conv',
            f'depthwise{_NORM}': 'depthwise.bn',
            'squeeze_excite[_/][Cc]onv': 'excite.reduce',
            'squeeze_excite[_/][Cc]onv_1': 'excite.expand',
            'project': 'project.conv',
            f'project{_NORM}': 'project.bn',
        }.items()
    ),
    (r'[Cc]onv_1', r'top.conv.conv'),
    (rf'[Cc]onv_1{_NORM}', r'top.conv.bn'),
    (r'[Cc]onv_2', r'top.hidden.0'),
    (r'[Ll]ogits', r'top.classes'),
]


# ResNet: which layer is which. Stages count from 2 (the paper's conv2_x), blocks from 1; up to keras-applications 1.0.4
# blocks had letters, and so had the layers of a block.
def _resnet_block(match: re.Match) -> str:
    return f'backbone.stage{int(match[1]) - 1}.blocks.{int(match[2]) - 1}'


def _old_resnet_block(match: re.Match) -> str:
    return f'backbone.stage{int(match["stage"]) - 1}.blocks.{ord(match["block"]) - ord("a")}'


_OLD_RESNET = r'(?P<kind>res|bn)(?P<stage>[2-5])(?P<block>[a-z])_branch'
_OLD_KINDS = dict(res='conv', bn='bn')
RESNET: list[Rule] = [
    (r'conv1_(conv|bn)', r'backbone.stem.\1'),
    (r'conv(\d)_block(\d+)_0_(conv|bn)', lambda m: f'{_resnet_block(m)}.shortcut.{m[3]}'),
    (r'conv(\d)_block(\d+)_(\d)_(conv|bn)', lambda m: f'{_resnet_block(m)}.conv{m[3]}.{m[4]}'),
    (r'conv1', 'backbone.stem.conv'),
    (r'bn_conv1', 'backbone.stem.bn'),
    (rf'{_OLD_RESNET}1', lambda m: f'{_old_resnet_block(m)}.shortcut.{_OLD_KINDS[m["kind"]]}'),
    (
        rf'{_OLD_RESNET}2(?P<layer>[abc])',
        lambda m: f'{_old_resnet_block(m)}.conv{"abc".index(m["layer"]) + 1}.{_OLD_KINDS[m["kind"]]}',
    ),
    (r'predictions|probs|fc1000', r'top.classes'),
]

# ResNetV2: which layer is which. A stack's last block is moved afterwards.
RESNET_V2: list[Rule] = [
    ('conv1_conv', 'backbone.stem.conv'),
    ('post_bn', 'backbone.post.0'),
    ('predictions|probs', 'top.classes'),
    (r'conv(\d)_block(\d+)_(.*)', lambda m: f'backbone.stage{int(m[1]) - 1}.blocks.{int(m[2]) - 1}.{_pre_act(m[3])}'),
]


def _pre_act(layer: str) -> str:
    """A layer of a block: ``'preact_bn'``, ``'0_conv'`` (the shortcut), ``'1_conv'``, ``'1_bn'``, ..., ``'3_conv'``."""
    number, _, kind = layer.partition('_')
    plain = {'preact_bn': 'norm', '0_conv': 'project', '3_conv': 'conv3'}
    return plain.get(layer) or f'conv{number}.{kind}'


def _open_next_stage(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The last block of ResNet v2's first three stacks halves the map, so here it opens the next stage."""
    blocks = [re.match(r'backbone\.stage(\d)\.blocks\.(\d+)\.', key) for key in state]
    last = {}
    for stage, number in sorted((int(m[1]), int(m[2])) for m in blocks if m):
        last[stage] = number
    moved = {
        f'backbone.stage{s}.blocks.{n}.': f'backbone.stage{s + 1}.down.' for s, n in last.items() if s != max(last)
    }
    renamed = {}
    for (key, value), match in zip(state.items(), blocks, strict=True):
        block = match[0] if match else ''
        renamed[moved.get(block, block) + key.removeprefix(block)] = value
    return renamed


# VGG: which layer is which. Its block 1 is our level 0.
VGG: list[Rule] = [
    (r'block(\d)_conv(\d)', lambda m: f'backbone.stage{int(m[1]) - 1}.conv{m[2]}.conv'),
    (r'fc1', r'top.hidden.0'),
    (r'fc2', r'top.hidden.1'),
    (r'predictions', r'top.classes'),
]


def flatten_channels_first(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """VGG: Keras flattens the 7 x 7 map in H, W, C order, we in C, H, W."""
    key = 'top.hidden.0.weight'
    if key not in state or state[key].shape[1:].numel() % 49:  # no top, or one behind another map
        return state
    return {**state, key: state[key].unflatten(1, (7, 7, -1)).permute(0, 3, 1, 2).flatten(1)}


# Xception: which layer is which. The four shortcuts have numbers for names.
_XCEPTION_SHORTCUTS = (2, 3, 4, 13)
XCEPTION: list[Rule] = [
    (r'block1_conv(\d)(_bn)?', lambda m: f'backbone.stem.{int(m[1]) - 1}.{"bn" if m[2] else "conv"}'),
    (r'(block\d+)_sepconv(\d)(/pointwise|_bn)?', lambda m: _separable(m[1], int(m[2]) - 1, m[3])),
    (r'conv2d_(\d)', lambda m: f'backbone.block{_XCEPTION_SHORTCUTS[int(m[1])]}.shortcut.conv'),
    (r'batch_normalization_(\d)', lambda m: f'backbone.block{_XCEPTION_SHORTCUTS[int(m[1])]}.shortcut.bn'),
    ('predictions', 'top.classes'),
]


def _separable(block: str, number: int, part: str | None) -> str:
    convs = '' if block == 'block14' else 'convs.'  # the only block without a shortcut
    layer = {None: 'depthwise', '/pointwise': 'pointwise.conv', '_bn': 'pointwise.bn'}[part]
    return f'backbone.{block}.{convs}{number}.{layer}'


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
    'VGG': flatten_channels_first,
    'ResNetV2': _open_next_stage,
    'MobileNetV1': _flatten_linear,
    'MobileNetV3': _flatten_linear,
}

#: What Keras's networks have and no array shows. The others differ from our other rows in their arrays, too.
DEMANDS = {
    'DenseNet': dict(norm=dict(eps=1.001e-5)),
    'EfficientNet': dict(padding='same'),
    'MobileNetV2': dict(padding='same'),
    'MobileNetV3': dict(padding='same'),
    'ResNet': dict(norm=dict(eps=1.001e-5)),
    'Xception': dict(norm=dict(eps=1e-3)),
}


WORLD = World('Keras', RULES, FIXES, layout=to_torch, demands=DEMANDS, prepare=prepare)
