"""Weights of MMDetection's backbones: which of its layers is which of ours."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mmcnn.weights.translate import Rule, World

# Darknet: conv_res_block1 is a stage, its res0 the first block behind the strided convolution.
DARKNET: list[Rule] = [
    (r'conv1\.(conv|bn)', r'stem.\1'),
    (r'conv_res_block(\d)\.conv\.(conv|bn)', r'stage\1.0.\2'),
    (r'conv_res_block(\d)\.res(\d)\.(.+)', lambda match: f'stage{match[1]}.{int(match[2]) + 1}.{match[3]}'),
]

# ResNet: torchvision's names.
RESNET: list[Rule] = [
    (r'conv1', 'stem.conv'),
    (r'bn1', 'stem.bn'),
    (r'layer(\d)\.(\d+)\.conv(\d)', r'stage\1.blocks.\2.conv\3.conv'),
    (r'layer(\d)\.(\d+)\.bn(\d)', r'stage\1.blocks.\2.conv\3.bn'),
    (r'layer(\d)\.(\d+)\.downsample\.0', r'stage\1.blocks.\2.shortcut.conv'),
    (r'layer(\d)\.(\d+)\.downsample\.1', r'stage\1.blocks.\2.shortcut.bn'),
]

# Layer names of MMDetection's backbones -> of ours, a list for each of our families.
RULES: dict[str, list[Rule]] = {
    'Darknet': DARKNET,
    'ResNet': RESNET,
}


WORLD = World('MMDetection', RULES)


def from_mmdet(state: Mapping[str, Tensor], variant: str) -> dict[str, Tensor]:
    """A state dict of one of MMDetection's backbones (without ``backbone.``) as one of ours.

    Args:
        state: name to tensor.
        variant: short name of our backbone.

    Raises:
        CheckpointError: MMDetection has no backbone of this family, or a key has no counterpart here.
    """
    return WORLD.translate(state, variant)
