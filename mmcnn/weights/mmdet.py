"""Weights of MMDetection and MMPretrain: which of their layers is which of ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mmcnn.errors import CheckpointError
from mmcnn.image_format import IMAGENET
from mmcnn.models.families import backbone_families
from mmcnn.weights.torchvision import RESNET, VGG_TOP, vgg_features
from mmcnn.weights.translate import Rule, Translation, World

if TYPE_CHECKING:
    from mmcnn.models.backbones.row import Row

# Darknet: conv_res_block1 is a stage, its res0 the first block behind the strided convolution.
DARKNET: list[Rule] = [
    (r'conv1\.(conv|bn)', r'backbone.stem.\1'),
    (r'conv_res_block(\d)\.conv\.(conv|bn)', r'backbone.stage\1.0.\2'),
    (r'conv_res_block(\d)\.res(\d)\.(.+)', lambda match: f'backbone.stage{match[1]}.{int(match[2]) + 1}.{match[3]}'),
]

# ResNet and ResNeXt: torchvision's names; MMPretrain's head is apart.
RESNETS: list[Rule] = [*RESNET, (r'head\.fc', 'top.classes')]


def vgg_rules(variant: str) -> list[Rule]:
    """VGG: MMCV's (Caffe's weights, SSD) has torchvision's names; MMPretrain counts blocks and pools only."""
    rules, index = [*vgg_features(variant), *VGG_TOP], 0
    for level, depth in enumerate(backbone_families()[variant].variants[variant].depths):
        for i in range(1, depth + 1):
            rules.append((rf'features\.{index}\.(conv|bn)', rf'backbone.stage{level}.conv{i}.\1'))
            index += 1
        index += 1  # the pool
    return rules


# Layer names of MMDetection's and MMPretrain's backbones -> layer names of mmcnn.Classifier, a list for each of our
# families, or what gives the list for a network.
RULES: dict[str, list[Rule] | Callable[[str], list[Rule]]] = {
    'Darknet': DARKNET,
    'ResNeXt': RESNETS,
    'ResNet': RESNETS,
    'VGG': vgg_rules,
}

#: What their networks have and no tensor shows. ResNet of style 'caffe' (stride on the first 1x1, no biases) is none of
#: our rows and has the same tensors as style 'pytorch', which is assumed unless the file's name says otherwise.
DEMANDS = {'Darknet': dict(act=dict(type='LeakyReLU', negative_slope=0.1))}


#: Names and files of ResNet of style 'caffe', as MMDetection's model zoo has them.
CAFFE_STYLE = re.compile(r'.*resnet\d+_(caffe|msra)(-[0-9a-f]{8}\.pth)?')


def refuse_caffe_style(address: str | Path) -> None:
    """Raises CheckpointError for a path or an address whose name says that it is a ResNet of style 'caffe'."""
    if CAFFE_STYLE.fullmatch(str(address).rpartition('/')[2]):
        raise CheckpointError(
            f"{address} holds a ResNet of style 'caffe', whose strides are on the first 1x1 convolutions; none of our "
            'rows is built so: they would load and be wrong'
        )


def _prepare(state: Mapping[str, Tensor], row: Row) -> Translation:
    """The backbone alone, and MMPretrain's head; a detector's neck and heads are left out."""
    if not any(key.startswith('backbone.') for key in state):
        return Translation(dict(state))
    inside, outside = {}, []
    for key, value in state.items():
        if key.startswith(('backbone.', 'head.fc.')):
            inside[key.removeprefix('backbone.')] = value
        else:
            outside.append(key)
    return Translation(inside, {"the detector's neck and heads": outside} if outside else {})


WORLD = World('MMDetection', RULES, demands=DEMANDS, prepare=_prepare, images={'VGG': IMAGENET})


def from_mmdet_detector(state: Mapping[str, Tensor], model: nn.Module) -> Translation:
    """The state dict of one of MMDetection's detectors under the names of ours: only the backbone's differ.

    Our YOLOv3 and Faster R-CNN have MMDetection's necks and heads. Of a checkpoint with exponential moving averages
    (``ema_state_dict`` beside ``state_dict``) the ``state_dict`` is meant: MMEngine stores the averages there.

    Args:
        state: ``'backbone...'``, ``'neck...'``, ``'bbox_head...'``, ... to tensor.
        model: a detector with one of our backbones.

    Raises:
        CheckpointError: the detector's backbone is none of ours, or the file's is of another family.
    """
    variant = getattr(getattr(model, 'backbone', None), 'variant', None)
    if variant not in backbone_families():
        raise CheckpointError(f'{type(model).__name__} has no backbone of mmcnn, nothing in it has other names')
    trunk = {key: value for key, value in state.items() if key.startswith('backbone.')}
    translation = WORLD.translate(trunk, variant)
    others = {key: value for key, value in state.items() if key not in trunk}
    return replace(translation, state={**translation.state, **others})
