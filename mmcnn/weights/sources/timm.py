"""Weights of timm's classifiers: the mapping of its layers to ours, and its published files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmcnn.image_format import IMAGENET, IMAGENET_256, SYMMETRIC, SYMMETRIC_299, ImageFormat
from mmcnn.weights.sources.published import Published
from mmcnn.weights.sources.torchvision import DENSENET, RESNEXT, vgg_features
from mmcnn.weights.sources.translate import Rule, Source, Translation

if TYPE_CHECKING:
    from mmcnn.models.backbones.row import Row

# Mapping of CSPDarknet's and CSPResNet's layers.
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
    """Split CSPDarknet's two paths, which are one convolution in timm, [short, main], concatenated in that order.

    Here they are two convolutions, and the main path comes first, as in Darknet.
    """
    split = {}
    for key, value in state.items():
        if '.expand.' in key:
            short, main = value.chunk(2) if value.numel() > 1 else (value, value)  # BatchNorm's counter is a scalar
            split[key.replace('expand', 'short')], split[key.replace('expand', 'main')] = short, main
        elif key.endswith('.final.conv.weight') and value.ndim == 4:
            split[key] = torch.cat(value.chunk(2, dim=1)[::-1], dim=1)
        else:
            split[key] = value
    return split


# Mapping of Darknet's layers.
DARKNET: list[Rule] = [
    (r'stem\.conv1\.(conv|bn)', r'backbone.stem.\1'),
    (r'stages\.(\d)\.conv_down\.(conv|bn)', lambda m: f'backbone.stage{int(m[1]) + 1}.0.{m[2]}'),
    (
        r'stages\.(\d)\.blocks\.(\d+)\.(.*)',
        lambda m: f'backbone.stage{int(m[1]) + 1}.{int(m[2]) + 1}.{m[3]}',
    ),
    (r'head\.fc', 'top.classes'),
]


# Mapping of EfficientNet's layers. Its first stage has no expansion, so its layers are one number lower.
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
    """Return branch and layer of an Inception module; in timm the only layer of a branch has no number."""
    return f'{match["branch"]}.{match["layer"] or 0}.{match["part"]}'


def _residual(match: re.Match) -> str:
    """Return Inception-ResNet's blocks, after what opens their stage; in timm the last one is separate."""
    stage, first = {'repeat': (3, 2), 'repeat_1': (4, 1), 'repeat_2': (5, 1), 'block8': (5, 10)}[match['stage']]
    return f'backbone.stage{stage}.{first + int(match["block"] or 0)}'


# Mapping of InceptionResNet's layers.
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
    """Renumber Inception-v4's modules: timm counts them consecutively, here they are counted within each stage."""
    number, first = int(match['number']), {'stem': 0, 'stage2': 3, 'stage3': 5, 'stage4': 10, 'stage5': 18}
    stage = [name for name, start in first.items() if start <= number][-1]
    return f'backbone.{stage}.{number - first[stage]}'


def _fork(match: re.Match) -> str:
    """Return the branches of Inception-C, which end in a fork: 'branch1_1b' is the second way of branch 1's layer 1."""
    way = {'': '', 'a': '.0.0', 'b': '.1.0'}[match['way']]
    return f'{_inception_v4(match)}.{match["branch"]}.{match["layer"]}{way}.{match["part"]}'


_MODULE = r'features\.(?P<number>\d+)'

# Mapping of InceptionV4's layers.
INCEPTION_V4: list[Rule] = [
    (r'features\.3\.conv\.(conv|bn)', r'backbone.stage2.0.1.0.\1'),
    (r'features\.5\.conv\.(conv|bn)', r'backbone.stage3.0.0.0.\1'),
    (rf'{_MODULE}\.(?P<part>conv|bn)', lambda match: f'{_inception_v4(match)}.{match["part"]}'),
    (rf'{_MODULE}\.{_BRANCH}', lambda match: f'{_inception_v4(match)}.{_branch(match)}'),
    (rf'{_MODULE}\.branch(?P<branch>\d)_(?P<layer>\d)(?P<way>[ab]?)\.(?P<part>conv|bn)', _fork),
    (r'last_linear', 'top.classes'),
]


def _osa(match: re.Match) -> str:
    """Return VoVNet's modules, after what opens their stage; timm's stage 0 has stride 4."""
    return f'backbone.stage{int(match[1]) + 2}.{int(match[2]) + 1}'


# Mapping of VoVNet's layers.
VOVNET: list[Rule] = [
    (r'stem\.([01])\.(conv|bn)', r'backbone.stem.\1.\2'),
    (r'stem\.2\.(conv|bn)', r'backbone.stage2.0.\1'),
    (r'stages\.(\d)\.blocks\.(\d)\.conv_mid\.(\d\.(?:conv|bn))', lambda m: f'{_osa(m)}.convs.{m[3]}'),
    (r'stages\.(\d)\.blocks\.(\d)\.conv_concat\.(conv|bn)', lambda m: f'{_osa(m)}.aggregate.{m[3]}'),
    (r'stages\.(\d)\.blocks\.(\d)\.attn\.fc', lambda m: f'{_osa(m)}.squeeze.conv'),
    (r'head\.fc', 'top.classes'),
]


def vgg_rules(variant: str) -> list[Rule]:
    """Return VGG's rules: the trunk has torchvision's names."""
    return [
        *vgg_features(variant),
        (r'pre_logits\.fc([12])', lambda m: f'top.hidden.{int(m[1]) - 1}'),
        (r'head\.fc', 'top.classes'),
    ]


def _flatten_linear(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Flatten VGG's hidden layers, which are convolutions in timm: (C_out, C_in, h, w) to (C_out, C_in * h * w)."""
    linear = ('top.hidden.0.weight', 'top.hidden.1.weight')
    return {key: value.flatten(1) if key in linear and value.ndim == 4 else value for key, value in state.items()}


# Mapping of Xception's layers. timm's block 1 is Keras's and ours 2; a block repeats an activation (not in the first),
# a separable convolution and a norm.
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
    'DenseNet': DENSENET,  # torchvision's names, as in the residual networks
    'EfficientNet': EFFICIENTNET,
    'InceptionResNet': INCEPTION_RESNET,
    'InceptionV4': INCEPTION_V4,
    'ResNeXt': RESNEXT,
    'ResNet': RESNEXT,
    'VGG': vgg_rules,
    'VoVNet': VOVNET,
    'Xception': XCEPTION,
}

#: Corrections beyond names, by family.
FIXES: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    'CSPDarknet': _two_paths,
    'VGG': _flatten_linear,
}

#: Properties of timm's networks that no tensor shows. EfficientNet is missing since timm has two forms:
#: efficientnet_b0 to b4 are our rows with -tv, and tf_efficientnet_b0 to b7 those without.
DEMANDS = {
    'CSPDarknet': dict(act=dict(type='LeakyReLU', negative_slope=0.01)),
    'Darknet': dict(act=dict(type='LeakyReLU', negative_slope=0.01)),
    'DenseNet': dict(norm=dict(eps=1e-5)),
    'Xception': dict(norm=dict(eps=1e-5)),
}


def _prepare(state: Mapping[str, Tensor], row: Row) -> Translation:
    """Note which of EfficientNet's two forms is assumed."""
    notes = []
    if any(key.startswith('conv_stem.') for key in state):
        form = 'efficientnet_b*' if row.padding is None else "tf_efficientnet_b*, with TensorFlow's padding"
        notes.append(f'timm has two EfficientNets with these entries; this row corresponds to {form}')
    return Translation(dict(state), notes=notes)


SOURCE = Source('timm', RULES, FIXES, demands=DEMANDS, prepare=_prepare, images={'VGG': IMAGENET})


# The published ImageNet weights of the rows with timm's graph; those that it mirrors from torchvision are listed there.
# Metrics are at timm's test size, which is often larger than that of the training.

RESULTS = 'https://github.com/huggingface/pytorch-image-models/blob/main/results/results-imagenet.csv'
APACHE, NON_COMMERCIAL = 'Apache-2.0', 'CC-BY-NC-4.0'

# Model, our name of the version, timm's name of model and version, top-1, image size in that test.
RESNEXT_FILES = [
    ('resnext50-32x4d', 'a1h', 'resnext50_32x4d.a1h_in1k', 82.014, 288),
    ('resnext50-32x4d', 'ra', 'resnext50_32x4d.ra_in1k', 80.698, 288),
    ('resnext50-32x4d', 'gluon', 'resnext50_32x4d.gluon_in1k', 79.36, 224),
    ('resnext101-32x4d', 'gluon', 'resnext101_32x4d.gluon_in1k', 80.34, 224),
    ('resnext101-64x4d', 'c1', 'resnext101_64x4d.c1_in1k', 83.156, 288),
    ('resnext101-64x4d', 'gluon', 'resnext101_64x4d.gluon_in1k', 80.6, 224),
]
RESNEXT_YFCC_FILES = [
    ('resnext50-32x4d', 'ssl', 'resnext50_32x4d.fb_ssl_yfcc100m_ft_in1k', 80.338, 224),
    ('resnext101-32x4d', 'ssl', 'resnext101_32x4d.fb_ssl_yfcc100m_ft_in1k', 80.924, 224),
    ('resnext101-32x8d', 'ssl', 'resnext101_32x8d.fb_ssl_yfcc100m_ft_in1k', 81.606, 224),
]
RESNEXT_INSTAGRAM_FILES = [
    ('resnext50-32x4d', 'swsl', 'resnext50_32x4d.fb_swsl_ig1b_ft_in1k', 82.174, 224),
    ('resnext101-32x4d', 'swsl', 'resnext101_32x4d.fb_swsl_ig1b_ft_in1k', 83.232, 224),
    ('resnext101-32x8d', 'wsl', 'resnext101_32x8d.fb_wsl_ig1b_ft_in1k', 82.698, 224),
]
INCEPTION_FILES = [
    ('inceptionv4-timm', 'tf', 'inception_v4.tf_in1k', 80.156, 299),
    ('inception-resnet-v2-timm', 'tf', 'inception_resnet_v2.tf_in1k', 80.462, 299),
    ('inception-resnet-v2-timm', 'tf-ens-adv', 'inception_resnet_v2.tf_ens_adv_in1k', 79.978, 299),
]
# LeakyReLU's slope is timm's 0.01 here, not Darknet's 0.1.
DARKNET_FILES = [
    ('darknet53-timm', 'c2ns', 'darknet53.c2ns_in1k', 80.536, 288),
    ('cspdarknet53-timm', 'ra', 'cspdarknet53.ra_in1k', 80.062, 256),
    ('cspresnet50', 'ra', 'cspresnet50.ra_in1k', 79.59, 256),
    ('cspresnext50', 'ra', 'cspresnext50.ra_in1k', 80.556, 256),
]
VOVNET_FILES = [('vovnetv2-39', 'ra', 'ese_vovnet39b.ra_in1k', 80.35, 288)]


def _entries(
    rows: list[tuple],
    activation: str,
    eps: float,
    image: ImageFormat,
    licence: str = APACHE,
    trained_on: str = 'ImageNet-1k',
) -> Iterator[Published]:
    for model, version, timm_name, top1, size in rows:
        yield Published(
            name=f'{model}/timm-{version}',
            model=model,
            library='timm',
            urls=(f'https://huggingface.co/timm/{timm_name}/resolve/main/model.safetensors',),
            top=True,
            licence=licence,
            image=image,
            activation=activation,
            norm_eps=eps,
            metric=f'top-1 {top1} at {size} px',
            source=RESULTS,
            trained_on=trained_on,
        )


ENTRIES = [
    *_entries(RESNEXT_FILES, 'ReLU', 1e-5, IMAGENET),
    *_entries(RESNEXT_YFCC_FILES, 'ReLU', 1e-5, IMAGENET, NON_COMMERCIAL, 'YFCC100M, ImageNet-1k'),
    *_entries(RESNEXT_INSTAGRAM_FILES, 'ReLU', 1e-5, IMAGENET, NON_COMMERCIAL, 'Instagram-1B, ImageNet-1k'),
    *_entries(INCEPTION_FILES, 'ReLU', 1e-3, SYMMETRIC_299),
    *_entries(DARKNET_FILES, 'LeakyReLU(0.01)', 1e-5, IMAGENET_256),
    *_entries(VOVNET_FILES, 'ReLU', 1e-5, IMAGENET),
    Published(
        name='vovnetv2-57/timm-ra4',
        model='vovnetv2-57',
        library='timm',
        urls=('https://huggingface.co/timm/ese_vovnet57b.ra4_e3600_r256_in1k/resolve/main/model.safetensors',),
        top=True,
        licence=APACHE,
        image=replace(SYMMETRIC, size=256),
        activation='ReLU',
        norm_eps=1e-5,
    ),
    Published(
        name='xception-timm/timm-tf',
        model='xception-timm',
        library='timm',
        # Unlike for torchvision, it is not stated that the digits in the name are those of the file's SHA-256.
        urls=(
            'https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-cadene/xception-43020ad28.pth',
        ),
        top=True,
        licence=APACHE,
        image=SYMMETRIC_299,
        activation='ReLU',
        norm_eps=1e-5,
        metric='top-1 79.04 at 299 px',
        source=RESULTS,
    ),
]
