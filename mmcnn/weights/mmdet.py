"""Weights of MMDetection's backbones: which of its layers is which of ours."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mmcnn.registry import BACKBONE_FAMILIES
from mmcnn.weights.checkpoint import CheckpointError
from mmcnn.weights.translate import Rule, translate

# Darknet: conv_res_block1 is a stage, its res0 the first block behind the strided convolution.
DARKNET: list[Rule] = [
    (r'conv1\.(conv|bn)', r'stem.\1'),
    (r'conv_res_block(\d)\.conv\.(conv|bn)', r'stage\1.0.\2'),
    (r'conv_res_block(\d)\.res(\d)\.(.+)', lambda match: f'stage{match[1]}.{int(match[2]) + 1}.{match[3]}'),
]

# Layer names of MMDetection's backbones -> of ours, a list for each of our families.
RULES: dict[str, list[Rule]] = {
    'Darknet': DARKNET,
}


def from_mmdet(state: Mapping[str, Tensor], variant: str) -> dict[str, Tensor]:
    """A state dict of one of MMDetection's backbones (without ``backbone.``) as one of ours.

    Args:
        state: name to tensor.
        variant: short name of our backbone.

    Raises:
        CheckpointError: MMDetection has no backbone of this family, or a key has no counterpart here.
    """
    family = BACKBONE_FAMILIES[variant].__name__
    if family not in RULES:
        raise CheckpointError(f'MMDetection has no weights for {variant}; it has some for {", ".join(sorted(RULES))}')
    return translate(state, RULES[family])
