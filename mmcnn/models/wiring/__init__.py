"""Passes image format, channels and strides from the backbone to data preprocessor, neck and heads automatically.

``wire`` fills in what is absent and checks what is given, ``swap_backbone`` replaces the backbone and everything that
described the old one, ``prove`` runs the whole detector before its first step, and ``prove_loss`` computes the loss of
a synthetic batch. The places where a config describes its backbone are listed once, in ``slots``.
"""

from mmcnn.compat.moved import moved_names
from mmcnn.models.wiring.classes import is_classifier, num_classes, set_num_classes
from mmcnn.models.wiring.filling import wire, wired
from mmcnn.models.wiring.first_loss import Given, prove_loss
from mmcnn.models.wiring.names import backbone_of, named_backbone
from mmcnn.models.wiring.probing import PROBE_SIZE, Maps, probe
from mmcnn.models.wiring.proving import prove
from mmcnn.models.wiring.slots import COARSE_TO_FINE_NECKS, PER_LEVEL_HEADS
from mmcnn.models.wiring.swapping import PYRAMID_NECKS, refit, swap_backbone

__all__ = [
    'COARSE_TO_FINE_NECKS',
    'PER_LEVEL_HEADS',
    'PROBE_SIZE',
    'PYRAMID_NECKS',
    'Given',
    'Maps',
    'backbone_of',
    'is_classifier',
    'named_backbone',
    'num_classes',
    'probe',
    'prove',
    'prove_loss',
    'refit',
    'set_num_classes',
    'swap_backbone',
    'wire',
    'wired',
]

__getattr__ = moved_names(__name__)
