"""Weights of keras.applications: the layout of its arrays, the mapping of its layers to ours, its published files.

Licences: of those files for which its documentation (docs/templates/applications.md of Keras 2.1) states one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmcnn.errors import CheckpointError
from mmcnn.image_format import CAFFE, IMAGENET, SYMMETRIC, SYMMETRIC_299, ImageFormat
from mmcnn.weights.sources.published import Published
from mmcnn.weights.sources.translate import Rule, Source, Translation

if TYPE_CHECKING:
    from mmcnn.models.backbones.row import Row

#: Keras's names of vectors -> ours.
VECTORS = {
    'bias': 'bias',
    'gamma': 'weight',
    'beta': 'bias',
    'moving_mean': 'running_mean',
    'moving_variance': 'running_var',
}
#: Epsilon of the BatchNorms in ResNet up to keras-applications 1.0.4.
OLD_RESNET_EPS = 1e-3


def prepare(state: Mapping[str, Tensor], row: Row) -> Translation:
    """Remove EfficientNet's input normalisation, and give ResNet's oldest files the epsilon of later ones."""
    layers = {key: key.rpartition('.')[0] for key in state}
    aside = tuple(key for key, layer in layers.items() if re.fullmatch(r'normalization_\d+', layer))
    kept, notes = {key: value for key, value in state.items() if key not in aside}, []
    if aside and not _same_normalisation(state, row.image):
        notes.append(
            f'the file normalises images in 0..1 with {_values(state, "mean")} and {_values(state, "variance")}, but '
            f'the row normalises images in 0..255 with mean {row.image.mean} and std '
            f'{row.image.std}'
        )
    if 'bn_conv1' in layers.values() and row.norm is not None:
        shift = OLD_RESNET_EPS - row.norm['eps']
        kept = {key: value + shift if key.endswith('.moving_variance') else value for key, value in kept.items()}
        notes.append(
            f'the names are of keras-applications up to 1.0.4, whose BatchNorms have the epsilon {OLD_RESNET_EPS}: '
            f'{shift:.6g} is added to the running variances to get the same results'
        )
    return Translation(kept, {'input normalisation': aside} if aside else {}, notes=notes)


def _same_normalisation(state: Mapping[str, Tensor], image: ImageFormat) -> bool:
    """Return whether a file's statistics, for images in 0..1, are those of the row.

    Keras's published files store the deviation where the variance should be, and its networks divide by its root.
    """
    mean, variance, std = (
        _statistics(state, 'mean') * 255,
        _statistics(state, 'variance') * 255,
        torch.tensor(image.std),
    )
    return mean.shape == variance.shape == std.shape and (
        torch.allclose(mean, torch.tensor(image.mean), rtol=1e-3)
        and any(torch.allclose(each, std, rtol=1e-3) for each in (variance, (variance * 255).sqrt()))
    )


def _statistics(state: Mapping[str, Tensor], name: str) -> Tensor:
    return state.get(f'normalization_0.{name}', torch.empty(0)).flatten()


def _values(state: Mapping[str, Tensor], name: str) -> str:
    return f'{name} ({", ".join(f"{value:.4g}" for value in _statistics(state, name).tolist())})'


def to_torch(key: str, value: Tensor) -> tuple[str, Tensor]:
    """Return a name and an array of Keras as PyTorch's name and in its layout."""
    layer, _, array = key.rpartition('.')
    # Keras 2 has 'depthwise_kernel' in every depthwise layer, Keras 3 'kernel' in DepthwiseConv2D. In these networks no
    # convolution larger than 1x1 has a single output.
    if array.endswith('kernel') and value.ndim != 4 and (array != 'kernel' or value.ndim != 2):
        raise CheckpointError(f"'{key}' has the shape {tuple(value.shape)}, which is not valid for a kernel")
    depthwise = array == 'kernel' and value.ndim == 4 and value.shape[0] > 1 and value.shape[3] == 1
    if depthwise or array == 'depthwise_kernel':  # (H, W, C, M) to (C * M, 1, H, W)
        height, width, channels, multiplier = value.shape
        return f'{layer}.weight', value.permute(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    if array in ('kernel', 'pointwise_kernel'):  # (H, W, C_in, C_out) or (F_in, F_out)
        layer += '/pointwise' if array == 'pointwise_kernel' else ''
        return f'{layer}.weight', value.permute(3, 2, 0, 1) if value.ndim == 4 else value.t()
    if array not in VECTORS:
        raise CheckpointError(f"'{key}' is not an array of a known Keras layer")
    return f'{layer}.{VECTORS[array]}', value


# Mapping of DenseNet's layers. Its conv2 to conv5 are our levels 2 to 5; pool2 opens level 3.
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

# Mapping of EfficientNet's layers.
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

# Mapping of InceptionResNet's layers.
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

# The same for Inception v3.
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

# Mapping of InceptionV3's layers.
INCEPTION_V3: list[Rule] = [
    (r'conv2d_(\d+)', lambda match: f'backbone.{_INCEPTION_V3_CONVS[int(match[1])]}.conv'),
    (r'batch_normalization_(\d+)', lambda match: f'backbone.{_INCEPTION_V3_CONVS[int(match[1])]}.bn'),
    (r'predictions', 'top.classes'),
]

# Mapping of MobileNetV1's layers.
MOBILENET_V1: list[Rule] = [
    (r'conv1', r'backbone.stem.conv'),
    (r'conv1_bn', r'backbone.stem.bn'),
    (r'conv_dw_(\d+)', r'backbone.block\1.depthwise.conv'),
    (r'conv_dw_(\d+)_bn', r'backbone.block\1.depthwise.bn'),
    (r'conv_pw_(\d+)', r'backbone.block\1.pointwise.conv'),
    (r'conv_pw_(\d+)_bn', r'backbone.block\1.pointwise.bn'),
    (r'conv_preds', r'top.classes'),
]

# Mapping of MobileNetV2's layers.
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

# Mapping of MobileNetV3's layers; tf.keras 2.4 to 2.15 have 'Conv/BatchNorm' where later releases have 'conv_bn'.
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


# Mapping of ResNet's layers. Stages count from 2 (the paper's conv2_x), blocks from 1; up to keras-applications 1.0.4
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

# Mapping of ResNetV2's layers. A stack's last block is moved afterwards.
RESNET_V2: list[Rule] = [
    ('conv1_conv', 'backbone.stem.conv'),
    ('post_bn', 'backbone.post.0'),
    ('predictions|probs', 'top.classes'),
    (r'conv(\d)_block(\d+)_(.*)', lambda m: f'backbone.stage{int(m[1]) - 1}.blocks.{int(m[2]) - 1}.{_pre_act(m[3])}'),
]


def _pre_act(layer: str) -> str:
    """Return a layer of a block: ``'preact_bn'``, ``'0_conv'`` (shortcut), ``'1_conv'``, ``'1_bn'``, ..."""
    number, _, kind = layer.partition('_')
    plain = {'preact_bn': 'norm', '0_conv': 'project', '3_conv': 'conv3'}
    return plain.get(layer) or f'conv{number}.{kind}'


def _open_next_stage(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Move the last block of ResNet v2's first three stacks to the next stage, since it halves the resolution."""
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


# Mapping of VGG's layers. Its block 1 is our level 0.
VGG: list[Rule] = [
    (r'block(\d)_conv(\d)', lambda m: f'backbone.stage{int(m[1]) - 1}.conv{m[2]}.conv'),
    (r'fc1', r'top.hidden.0'),
    (r'fc2', r'top.hidden.1'),
    (r'predictions', r'top.classes'),
]


def flatten_channels_first(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Reorder VGG's first dense layer: Keras flattens the 7 x 7 map in H, W, C order, we in C, H, W."""
    key = 'top.hidden.0.weight'
    if key not in state or state[key].shape[1:].numel() % 49:  # no top, or one after another map size
        return state
    return {**state, key: state[key].unflatten(1, (7, 7, -1)).permute(0, 3, 1, 2).flatten(1)}


# Mapping of Xception's layers. The four shortcuts have numbers for names.
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
# SeparableConv2D is the layer's name followed by '/pointwise'. Layers that Keras numbers automatically ('conv2d_93')
# are numbered from 0 here, in each kind: 'conv2d' is 'conv2d_0'.
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
    """Flatten 1x1 convolutions after pooling, which are linear layers here: (C_out, C_in, 1, 1) to (C_out, C_in)."""
    linear = ('top.hidden.0.weight', 'top.classes.weight')
    return {key: value.flatten(1) if key in linear else value for key, value in state.items()}


#: Corrections beyond names, by family: VGG's flattening order, a 1x1 convolution that is a linear layer here.
FIXES: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    'VGG': flatten_channels_first,
    'ResNetV2': _open_next_stage,
    'MobileNetV1': _flatten_linear,
    'MobileNetV3': _flatten_linear,
}

#: Properties of Keras's networks that no array shows. The others also differ from our other rows in their arrays.
DEMANDS = {
    'DenseNet': dict(norm=dict(eps=1.001e-5)),
    'EfficientNet': dict(padding='same'),
    'MobileNetV2': dict(padding='same'),
    'MobileNetV3': dict(padding='same'),
    'ResNet': dict(norm=dict(eps=1.001e-5)),
    'Xception': dict(norm=dict(eps=1e-3)),
}


SOURCE = Source('Keras', RULES, FIXES, layout=to_torch, demands=DEMANDS, prepare=prepare)


# The published files, each with the classifier and without; Keras states the MD5 of most.

STORAGE = 'https://storage.googleapis.com/'
FOLDER = f'{STORAGE}tensorflow/keras-applications/'
TABLE = 'https://keras.io/api/applications/'
WIDTHS_TABLE = 'https://www.tensorflow.org/api_docs/python/tf/keras/applications/mobilenet'
V2_WIDTHS_TABLE = 'https://github.com/tensorflow/models/blob/master/research/slim/nets/mobilenet/README.md'
V3_TABLE = 'https://keras.io/api/applications/mobilenet/'

# Model, beginning of the file name, MD5 with and without the classifier, top-1.
VGG_FILES = [
    ('vgg16', 'vgg16/vgg16', '64373286793e3c8b2b4e3219cbf3544b', '6d6bbae143d832006294945121d1f1fc', 71.3),
    ('vgg19', 'vgg19/vgg19', 'cbe5617147190e668d6c5d5026f83318', '253f8cb515780f3b799900260a226db6', 71.3),
]
RESNET_50_FILES = [
    ('resnet50', 'resnet/resnet50', '2cb95161c43110f7111970584f804107', '4d473c1dd8becc155b73f8504c6f6626', 74.9),
]
RESNET_FILES = [
    ('resnet101', 'resnet/resnet101', 'f1aeb4b969a6efcfb50fad2f0c20cfc5', '88cf7a10940856eca736dc7b7e228a21', 76.4),
    ('resnet152', 'resnet/resnet152', '100835be76be38e30d865e96f2aaae62', 'ee4c566cf9a93f14d82f913c2dc6dd0c', 76.6),
]
RESNET_V2_FILES = [
    ('resnet50v2', 'resnet/resnet50v2', '3ef43a0b657b3be2300d5770ece849e0', 'fac2f116257151a9d068a22e544a4917', 76.0),
    ('resnet101v2', 'resnet/resnet101v2', '6343647c601c52e1368623803854d971', 'c0ed64b8031c3730f411d2eb4eea35b5', 77.2),
    ('resnet152v2', 'resnet/resnet152v2', 'a49b44d1979771252814e80f8ec446f9', 'ed17cf2e0169df9d443503ef94b23b33', 78.0),
]
DENSENET_FILES = [
    ('densenet121', 'densenet/densenet121',
     '9d60b8095a5708f2dcce2bca79d332c7', '30ee3e1110167f948a6b9946edeeb738', 75.0),
    ('densenet169', 'densenet/densenet169',
     'd699b8f76981ab1b30698df4c175e90b', 'b8c4d4c20dd625c148057b9ff1c1176b', 76.2),
    ('densenet201', 'densenet/densenet201',
     '1ceb130c1ea1b78c3bf6114dbdfd8807', 'c13680b51ded0fb44dff2d8f86ac8bb1', 77.3),
]  # fmt: skip
INCEPTION_FILES = [
    ('inceptionv3', 'inception_v3/inception_v3',
     '9a0d58056eeedaa3f26cb7ebd46da564', 'bcbd6486424b2319ff4ef7d526e38f63', 77.9),
    ('inception-resnet-v2', 'inception_resnet_v2/inception_resnet_v2',
     'e693bd0210a403b3192acc6073ad2e96', 'd19885ff4a710c122648d3b5c3b684e4', 80.3),
]  # fmt: skip
XCEPTION_FILES = [
    ('xception', 'xception/xception', '0a58e3b7378bc2990ea3b43d5981f1f6', 'b0042744bf5b25fce3cb969f33bebb97', 79.0),
]
# No hashes are stated for MobileNet v1 and v2.
MOBILENET_FILES = [('mobilenet', 'mobilenet/mobilenet_1_0', '', '', 70.4)]
MOBILENET_WIDTHS_FILES = [
    ('mobilenet-075', 'mobilenet/mobilenet_7_5', '', '', 68.4),
    ('mobilenet-050', 'mobilenet/mobilenet_5_0', '', '', 63.7),
    ('mobilenet-025', 'mobilenet/mobilenet_2_5', '', '', 50.6),
]
_V2 = 'mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels'
MOBILENET_V2_FILES = [('mobilenetv2', f'{_V2}_1.0', '', '', 71.3)]
MOBILENET_V2_WIDTHS_FILES = [
    ('mobilenetv2-140', f'{_V2}_1.4', '', '', 75.0),
    ('mobilenetv2-130', f'{_V2}_1.3', '', '', 74.4),
    ('mobilenetv2-075', f'{_V2}_0.75', '', '', 69.8),
    ('mobilenetv2-050', f'{_V2}_0.5', '', '', 65.4),
    ('mobilenetv2-035', f'{_V2}_0.35', '', '', 60.3),
]
_V3 = 'mobilenet_v3/weights_mobilenet_v3'
MOBILENET_V3_FILES = [
    ('mobilenetv3-small', f'{_V3}_small_224_1.0',
     '8768d4c2e7dee89b9d02b2d03d65d862', 'd3e8ec802a04aa4fc771ee12a9a9b836', 68.1),
    ('mobilenetv3-large', f'{_V3}_large_224_1.0',
     '59e551e166be033d707958cf9e29a6a7', '07fb09a5933dd0c8eaafa16978110389', 75.6),
    ('mobilenetv3-small-075', f'{_V3}_small_224_0.75',
     'cb65d4e5be93758266aa0a7f2c6708b7', 'ebdb5cc8e0b497cd13a7c275d475c819', 65.4),
    ('mobilenetv3-large-075', f'{_V3}_large_224_0.75',
     '765b44a33ad4005b3ac83185abf1d0eb', '40af19a13ebea4e2ee0c676887f69a2e', 73.3),
]  # fmt: skip
# The same with the image size.
EFFICIENTNET_FILES = [
    ('efficientnet-b0', 'efficientnetb0',
     '902e53a9f72be733fc0bcb005b3ebbac', '50bc09e76180e00e4465e1a485ddc09d', 77.1, 224),
    ('efficientnet-b1', 'efficientnetb1',
     '1d254153d4ab51201f1646940f018540', '74c4e6b3e1f6a1eea24c589628592432', 79.1, 240),
    ('efficientnet-b2', 'efficientnetb2',
     'b15cce36ff4dcbd00b6dd88e7857a6ad', '111f8e2ac8aa800a7a99e3239f7bfb39', 80.1, 260),
    ('efficientnet-b3', 'efficientnetb3',
     'ffd1fdc53d0ce67064dc6a9c7960ede0', 'af6d107764bb5b1abb91932881670226', 81.6, 300),
    ('efficientnet-b4', 'efficientnetb4',
     '18c95ad55216b8f92d7e70b3a046e2fc', 'ebc24e6d6c33eaebbd558eafbeedf1ba', 82.9, 380),
    ('efficientnet-b5', 'efficientnetb5',
     'ace28f2a6363774853a83a0b21b9421a', '38879255a25d3c92d5e44e04ae6cec6f', 83.6, 456),
    ('efficientnet-b6', 'efficientnetb6',
     '165f6e37dce68623721b423839de8be5', '9ecce42647a20130c1f39a5d4cb75743', 84.0, 528),
    ('efficientnet-b7', 'efficientnetb7',
     '8c03f828fec3ef71311cd463b6759d99', 'cbcfe4450ddf6f3ad90b1b398090fe4a', 84.3, 600),
]  # fmt: skip

# The ends of file names, with the classifier and without.
ORDER = ('_weights_tf_dim_ordering_tf_kernels', '_weights_tf_dim_ordering_tf_kernels_notop')
MOBILENET_ENDS = ('_224_tf', '_224_tf_no_top')
MOBILENET_V2_ENDS = ('_224', '_224_no_top')
MOBILENET_V3_ENDS = ('_float', '_float_no_top_v2')
EFFICIENTNET_ENDS = ('', '_notop')


def _entries(
    rows: list[tuple],
    image: ImageFormat,
    activation: str,
    eps: float | None,
    *,
    ends: tuple[str, str] = ORDER,
    folder: str = FOLDER,
    licence: str = '',
    source: str = TABLE,
) -> Iterator[Published]:
    for model, start, md5, md5_without, top1, *size in rows:
        for top, name, end, digest in ((True, 'keras', ends[0], md5), (False, 'keras-notop', ends[1], md5_without)):
            yield Published(
                name=f'{model}/{name}',
                model=model,
                library='keras',
                urls=(f'{folder}{start}{end}.h5',),
                md5=digest,
                top=top,
                licence=licence,
                image=replace(image, size=size[0]) if size else image,
                activation=activation,
                norm_eps=eps,
                metric=f'top-1 {top1}',
                source=source,
            )


ENTRIES = [
    *_entries(VGG_FILES, CAFFE, 'ReLU', None, licence='CC-BY-4.0'),
    *_entries(RESNET_50_FILES, CAFFE, 'ReLU', 1.001e-5, licence='MIT'),
    *_entries(RESNET_FILES, CAFFE, 'ReLU', 1.001e-5),
    *_entries(RESNET_V2_FILES, SYMMETRIC, 'ReLU', 1.001e-5),
    *_entries(DENSENET_FILES, IMAGENET, 'ReLU', 1.001e-5, licence='BSD-3-Clause'),
    *_entries(INCEPTION_FILES, SYMMETRIC_299, 'ReLU', 1e-3, licence='Apache-2.0'),
    *_entries(XCEPTION_FILES, SYMMETRIC_299, 'ReLU', 1e-3, licence='MIT'),
    *_entries(MOBILENET_FILES, SYMMETRIC, 'ReLU6', 1e-3, ends=MOBILENET_ENDS, licence='Apache-2.0'),
    *_entries(
        MOBILENET_WIDTHS_FILES, SYMMETRIC, 'ReLU6', 1e-3, ends=MOBILENET_ENDS, licence='Apache-2.0', source=WIDTHS_TABLE
    ),
    *_entries(MOBILENET_V2_FILES, SYMMETRIC, 'ReLU6', 1e-3, ends=MOBILENET_V2_ENDS, licence='Apache-2.0'),
    *_entries(
        MOBILENET_V2_WIDTHS_FILES,
        SYMMETRIC,
        'ReLU6',
        1e-3,
        ends=MOBILENET_V2_ENDS,
        licence='Apache-2.0',
        source=V2_WIDTHS_TABLE,
    ),
    *_entries(MOBILENET_V3_FILES, SYMMETRIC, 'HSwish', 1e-3, ends=MOBILENET_V3_ENDS, source=V3_TABLE),
    *_entries(
        EFFICIENTNET_FILES, IMAGENET, 'SiLU', 1e-3, ends=EFFICIENTNET_ENDS, folder=f'{STORAGE}keras-applications/'
    ),
]
