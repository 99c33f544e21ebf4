"""Weights of torchvision's Faster R-CNN on ResNet with FPN: the mapping of its layers to ours.

Its background class is the first one, MMDetection's the last; the boxes of the background are not trained and are left
out.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from mmdet.datasets import CocoDataset
from torch import Tensor, nn

from mmcnn.compat.private_names import BatchNorm
from mmcnn.errors import CheckpointError
from mmcnn.models.task_modules import TorchvisionAnchorGenerator
from mmcnn.weights.report import listed
from mmcnn.weights.sources.torchvision import RESNET
from mmcnn.weights.sources.translate import Rule, Translation, translate

#: COCO category numbers from 1 to 90 without annotations; the 80 classes are the others.
HOLES = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
WITH_HOLES = 90
_annotated = iter(CocoDataset.METAINFO['classes'])
#: Names of the 90 classes of torchvision's files: label i is COCO category i + 1.
COCO_90 = tuple(f'N/A {number}' if number in HOLES else next(_annotated) for number in range(1, WITH_HOLES + 1))

CLS, REG = 'roi_heads.box_predictor.cls_score', 'roi_heads.box_predictor.bbox_pred'
#: A layer that no classifier has, and one that distinguishes this form from those with more convolutions in the heads.
SIGN = 'roi_heads.box_head.fc6.weight'

# Names before torchvision 0.13 lack a number: inner_blocks.0.weight, rpn.head.conv.weight.
RULES: list[Rule] = [
    *((rf'backbone\.body\.{theirs}', ours) for theirs, ours in RESNET if theirs != 'fc'),
    (r'backbone\.fpn\.inner_blocks\.(\d)(?:\.0)?', r'neck.lateral_convs.\1.conv'),
    (r'backbone\.fpn\.layer_blocks\.(\d)(?:\.0)?', r'neck.fpn_convs.\1.conv'),
    (r'rpn\.head\.conv(?:\.0\.0)?', r'rpn_head.rpn_conv'),
    (r'rpn\.head\.cls_logits', r'rpn_head.rpn_cls'),
    (r'rpn\.head\.bbox_pred', r'rpn_head.rpn_reg'),
    (r'roi_heads\.box_head\.fc6', r'roi_head.bbox_head.shared_fcs.0'),
    (r'roi_heads\.box_head\.fc7', r'roi_head.bbox_head.shared_fcs.1'),
    (r'roi_heads\.box_predictor\.cls_score', r'roi_head.bbox_head.fc_cls'),
    (r'roi_heads\.box_predictor\.bbox_pred', r'roi_head.bbox_head.fc_reg'),
]


def norm_eps(state: Mapping[str, Tensor]) -> tuple[float, ...]:
    """Return the possible BatchNorm eps of a file's training, the likelier first; the file does not contain it.

    torchvision sets 0 for its COCO weights and what is fine-tuned from them: their norms are frozen, without counters.
    Norms frozen at ImageNet's statistics, and all trainable ones, have 1e-5.
    """
    return (1e-5,) if any(key.endswith('num_batches_tracked') for key in state) else (0.0, 1e-5)


def from_torchvision_detector(state: Mapping[str, Tensor], model: nn.Module) -> Translation:
    """Return the state dict of torchvision's Faster R-CNN under our names.

    Args:
        state: ``'backbone.body...'``, ``'backbone.fpn...'``, ``'rpn...'``, ``'roi_heads...'`` to tensor.
        model: a Faster R-CNN that makes boxes as torchvision does, see :func:`mmcnn.config.of_weights.config_of`.

    Raises:
        CheckpointError: it is another detector, or the model would make other boxes from it.
    """
    if SIGN not in state or CLS + '.weight' not in state or REG + '.weight' not in state:
        raise CheckpointError(f"it lacks the layers of torchvision's fasterrcnn_resnet50_fpn: {SIGN}, {CLS}, {REG}")
    _refuse_other_boxes(state, model)
    renamed = translate(state, RULES).state
    for kind in ('weight', 'bias'):
        scores, boxes = f'roi_head.bbox_head.fc_cls.{kind}', f'roi_head.bbox_head.fc_reg.{kind}'
        renamed[scores] = torch.cat([renamed[scores][1:], renamed[scores][:1]])
        renamed[boxes] = renamed[boxes][4:]
    reshaped = [f'roi_head.bbox_head.{layer}.{kind}' for layer in ('fc_cls', 'fc_reg') for kind in ('weight', 'bias')]
    return Translation(renamed, reshaped=reshaped)


def _refuse_other_boxes(state: Mapping[str, Tensor], model: nn.Module) -> None:
    other = []
    if not isinstance(getattr(getattr(model, 'rpn_head', None), 'prior_generator', None), TorchvisionAnchorGenerator):
        other.append('anchors')
    layers = [layer for layer in model.modules() if type(layer).__name__ == 'RoIAlign']
    if any(layer.aligned or layer.sampling_ratio != 2 for layer in layers):
        other.append('RoIAlign')
    eps = {module.eps for module in model.modules() if isinstance(module, BatchNorm)}
    if not eps <= {*norm_eps(state)}:
        other.append(f'eps of BatchNorm ({norm_eps(state)[0]:g} there)')
    if other:
        raise CheckpointError(
            f"torchvision's Faster R-CNN has other {listed(other, count=False)} than this model, which would give "
            'wrong boxes: omit the config, and a suitable one will be created'
        )
