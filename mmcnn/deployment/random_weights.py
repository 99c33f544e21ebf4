"""Random weights for a network that is given by name, chosen so that a check can distinguish its detections."""

from __future__ import annotations

import torch
from mmdet.models.dense_heads import YOLOV3Head
from torch import Tensor, nn

from mmcnn.compat.private_names import BatchNorm
from mmcnn.models.dense_heads import YOLOHead

#: Largest logit of a detector on the images that its weights are fitted to. PyTorch's initialisation gives nearly equal
#: logits, and with equal scores it is random which box suppresses the others.
LARGEST_LOGIT = 1.0


@torch.no_grad()
def spread(network: nn.Module, inputs: Tensor) -> None:
    """Measure BatchNorm's statistics, and spread the logits of a detector.

    Args:
        network: a backbone, classifier or detector with weights initialised by PyTorch; changed in place.
        inputs: normalised images (N, 3, H, W), N > 1, to measure on: those that are compared later. On very different
            ones, maps and rounding errors would grow from layer to layer.
    """
    generator = torch.Generator().manual_seed(0)
    norms = [each for each in network.modules() if isinstance(each, BatchNorm) and each.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        if norm.weight is not None:  # Inception's has none
            norm.weight.fill_(0.5)
        norm.train()
        norm.momentum = 1.0
    maps = _maps(network, inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
    for layer, inputs in _predictions(network, maps):
        layer.weight.normal_(generator=generator)
        outputs = layer(inputs)
        layer.weight.mul_(LARGEST_LOGIT / outputs.abs().max())


def _maps(network: nn.Module, images: Tensor) -> tuple[Tensor, ...] | Tensor:
    if not hasattr(network, 'backbone') or not hasattr(network, 'with_neck'):
        return network(images)
    maps = network.backbone(images)
    return network.neck(maps) if network.with_neck else maps


def _predictions(network: nn.Module, maps: tuple[Tensor, ...]) -> list[tuple[nn.Module, Tensor]]:
    """Return the last layers of a detector, each with its input."""
    head = getattr(network, 'bbox_head', None)
    if isinstance(head, YOLOHead):
        return [(p, b(m)) for m, b, p in zip(maps, head.bridges, head.predictions, strict=True)]
    if isinstance(head, YOLOV3Head):
        return [(p, b(m)) for m, b, p in zip(maps, head.convs_bridge, head.convs_pred, strict=True)]
    if not hasattr(network, 'rpn_head'):
        return []
    shared = [network.rpn_head.rpn_conv(m).relu() for m in maps]
    coarse = shared[-1]
    roi = network.roi_head.bbox_head
    features = torch.randn(64, roi.fc_cls.in_features, generator=torch.Generator().manual_seed(1)).relu()
    return [(network.rpn_head.rpn_cls, coarse), (roi.fc_cls, features)]
