"""Weights of MMDetection's backbones: which of its layers is which of ours."""

from __future__ import annotations

from mmcnn.weights.torchvision import RESNET
from mmcnn.weights.translate import Rule, World

# Darknet: conv_res_block1 is a stage, its res0 the first block behind the strided convolution.
DARKNET: list[Rule] = [
    (r'conv1\.(conv|bn)', r'backbone.stem.\1'),
    (r'conv_res_block(\d)\.conv\.(conv|bn)', r'backbone.stage\1.0.\2'),
    (r'conv_res_block(\d)\.res(\d)\.(.+)', lambda match: f'backbone.stage{match[1]}.{int(match[2]) + 1}.{match[3]}'),
]

# Layer names of MMDetection's backbones -> layer names of mmcnn.Classifier, a list for each of our families.
RULES: dict[str, list[Rule]] = {
    'Darknet': DARKNET,
    'ResNet': RESNET,  # it has torchvision's names
}


WORLD = World('MMDetection', RULES)
