"""Weights of timm's classifiers: which of its layers is which of ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmcnn.image_format import IMAGENET
from mmcnn.weights.torchvision import DENSENET, RESNEXT, vgg_features
from mmcnn.weights.translate import Rule, Translation, World

if TYPE_CHECKING:
    from mmcnn.models.backbones.row import Row

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
            short, main = value.chunk(2) if value.numel() > 1 else (value, value)  # the counter of batches is a number
            split[key.replace('expand', 'short')], split[key.replace('expand', 'main')] = short, main
        elif key.endswith('.final.conv.weight') and value.ndim == 4:
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


# EfficientNet: which layer is which. Its first stage has no expansion, so its layers are one number earlier.
EFFICIENTNET: list[Rule] = [
    (r'conv_stem', 'backbone.stem.conv'),
    (r'bn1', 'backbone.stem.bn'),
    *(
        (rf'blocks\.{stage}\.(\d+)\.{theirs}', lambda m, ours=ours: f'backbone.stage{int(m[1]) + 1}.{m[2]}.{ours}')
        for stage, layers in {
            '(0)': {
                'conv_dw': 'depthwise.conv',
                'bn1': 'depthwise.bn',
                'conv_pw': 'project.conv',
                'bn2': 'project.bn',
            },
            '([1-6])': {
                'conv_pw': 'expand.conv',
                'bn1': 'expand.bn',
                'conv_dw': 'depthwise.conv',
                'bn2': 'depthwise.bn',
                'conv_pwl': 'project.conv',
                'bn3': 'project.bn',
            },
            r'(\d)': {r'se\.conv_reduce': 'excite.reduce', r'se\.conv_expand': 'excite.expand'},
        }.items()
        for theirs, ours in layers.items()
    ),
    (r'conv_head', 'top.conv.conv'),
    (r'bn2', 'top.conv.bn'),
    (r'classifier', 'top.classes'),
]


_BRANCH = r'branch(?P<branch>\d)\.(?:(?P<layer>\d)\.)?(?P<part>conv|bn)'
_RESIDUAL = r'(?P<stage>repeat(?:_[12])?|block8)(?:\.(?P<block>\d+))?'


def _branch(match: re.Match) -> str:
    """Branch and layer of an Inception module; in timm the only layer of a branch has no number."""
    return f'{match["branch"]}.{match["layer"] or 0}.{match["part"]}'


def _residual(match: re.Match) -> str:
    """Inception-ResNet's blocks, behind what opens their stage; the last one stands alone in timm."""
    stage, first = {'repeat': (3, 2), 'repeat_1': (4, 1), 'repeat_2': (5, 1), 'block8': (5, 10)}[match['stage']]
    return f'backbone.stage{stage}.{first + int(match["block"] or 0)}'


# InceptionResNet: which layer is which.
INCEPTION_RESNET: list[Rule] = [
    (r'conv2d_1a\.(conv|bn)', r'backbone.stem.0.\1'),
    (r'conv2d_2a\.(conv|bn)', r'backbone.stem.1.\1'),
    (r'conv2d_2b\.(conv|bn)', r'backbone.stem.2.\1'),
    (r'conv2d_3b\.(conv|bn)', r'backbone.stage2.1.\1'),
    (r'conv2d_4a\.(conv|bn)', r'backbone.stage2.2.\1'),
    (rf'mixed_5b\.{_BRANCH}', lambda match: f'backbone.stage3.1.{_branch(match)}'),
    (rf'mixed_6a\.{_BRANCH}', lambda match: f'backbone.stage4.0.{_branch(match)}'),
    (rf'mixed_7a\.{_BRANCH}', lambda match: f'backbone.stage5.0.{_branch(match)}'),
    (rf'{_RESIDUAL}\.{_BRANCH}', lambda match: f'{_residual(match)}.branches.0.{_branch(match)}'),
    (rf'{_RESIDUAL}\.conv2d', lambda match: f'{_residual(match)}.project'),
    (r'conv2d_7b\.(conv|bn)', r'top.conv.\1'),
    (r'classif', 'top.classes'),
]


def _inception_v4(match: re.Match) -> str:
    """timm counts Inception-v4's modules through; here they are counted in each stage."""
    number, first = int(match['number']), {'stem': 0, 'stage2': 3, 'stage3': 5, 'stage4': 10, 'stage5': 18}
    stage = [name for name, start in first.items() if start <= number][-1]
    return f'backbone.{stage}.{number - first[stage]}'


def _fork(match: re.Match) -> str:
    """The branches of Inception-C, which end in a fork: 'branch1_1b' is the second way of branch 1's layer 1."""
    way = {'': '', 'a': '.0.0', 'b': '.1.0'}[match['way']]
    return f'{_inception_v4(match)}.{match["branch"]}.{match["layer"]}{way}.{match["part"]}'


_MODULE = r'features\.(?P<number>\d+)'

# InceptionV4: which layer is which.
INCEPTION_V4: list[Rule] = [
    (r'features\.3\.conv\.(conv|bn)', r'backbone.stage2.0.1.0.\1'),
    (r'features\.5\.conv\.(conv|bn)', r'backbone.stage3.0.0.0.\1'),
    (rf'{_MODULE}\.(?P<part>conv|bn)', lambda match: f'{_inception_v4(match)}.{match["part"]}'),
    (rf'{_MODULE}\.{_BRANCH}', lambda match: f'{_inception_v4(match)}.{_branch(match)}'),
    (rf'{_MODULE}\.branch(?P<branch>\d)_(?P<layer>\d)(?P<way>[ab]?)\.(?P<part>conv|bn)', _fork),
    (r'last_linear', 'top.classes'),
]


def _osa(match: re.Match) -> str:
    """VoVNet's modules, behind what opens their stage; timm's stage 0 has stride 4."""
    return f'backbone.stage{int(match[1]) + 2}.{int(match[2]) + 1}'


# VoVNet: which layer is which.
VOVNET: list[Rule] = [
    (r'stem\.([01])\.(conv|bn)', r'backbone.stem.\1.\2'),
    (r'stem\.2\.(conv|bn)', r'backbone.stage2.0.\1'),
    (r'stages\.(\d)\.blocks\.(\d)\.conv_mid\.(\d\.(?:conv|bn))', lambda m: f'{_osa(m)}.convs.{m[3]}'),
    (r'stages\.(\d)\.blocks\.(\d)\.conv_concat\.(conv|bn)', lambda m: f'{_osa(m)}.aggregate.{m[3]}'),
    (r'stages\.(\d)\.blocks\.(\d)\.attn\.fc', lambda m: f'{_osa(m)}.squeeze.conv'),
    (r'head\.fc', 'top.classes'),
]


def vgg_rules(variant: str) -> list[Rule]:
    """VGG: the trunk has torchvision's names."""
    return [
        *vgg_features(variant),
        (r'pre_logits\.fc([12])', lambda m: f'top.hidden.{int(m[1]) - 1}'),
        (r'head\.fc', 'top.classes'),
    ]


def _flatten_linear(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """VGG's hidden layers are convolutions in timm: (C_out, C_in, h, w) to (C_out, C_in * h * w)."""
    linear = ('top.hidden.0.weight', 'top.hidden.1.weight')
    return {key: value.flatten(1) if key in linear and value.ndim == 4 else value for key, value in state.items()}


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
RULES: dict[str, list[Rule] | Callable[[str], list[Rule]]] = {
    'CSPDarknet': CSP,
    'CSPResNet': CSP,
    'Darknet': DARKNET,
    'DenseNet': DENSENET,  # torchvision's names, as of the residual networks
    'EfficientNet': EFFICIENTNET,
    'InceptionResNet': INCEPTION_RESNET,
    'InceptionV4': INCEPTION_V4,
    'ResNeXt': RESNEXT,
    'ResNet': RESNEXT,
    'VGG': vgg_rules,
    'VoVNet': VOVNET,
    'Xception': XCEPTION,
}

#: What no rule on names can say, for a family.
FIXES: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    'CSPDarknet': _two_paths,
    'VGG': _flatten_linear,
}

#: What timm's networks have and no tensor shows. EfficientNet is not here: timm has it in two forms, of which
#: efficientnet_b0 to b4 are our rows with -tv, and tf_efficientnet_b0 to b7 those without.
DEMANDS = {
    'CSPDarknet': dict(act=dict(type='LeakyReLU', negative_slope=0.01)),
    'Darknet': dict(act=dict(type='LeakyReLU', negative_slope=0.01)),
    'DenseNet': dict(norm=dict(eps=1e-5)),
    'Xception': dict(norm=dict(eps=1e-5)),
}


def _prepare(state: Mapping[str, Tensor], row: Row) -> Translation:
    """Says which of EfficientNet's two forms is taken."""
    notes = []
    if any(key.startswith('conv_stem.') for key in state):
        form = 'efficientnet_b*' if row.padding is None else "tf_efficientnet_b*, with TensorFlow's padding"
        notes.append(f'timm has two EfficientNets with these entries, and the row is as {form}')
    return Translation(dict(state), notes=notes)


WORLD = World('timm', RULES, FIXES, demands=DEMANDS, prepare=_prepare, images={'VGG': IMAGENET})
