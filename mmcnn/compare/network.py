"""The network of a detector without decoding and NMS, and the costs that follow from its layers."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmcnn.compare.results import Cost
from mmcnn.config.model import build_on_meta
from mmcnn.models.costs import measure
from mmcnn.models.live_memory import training_peak

#: Number of images in a batch for which the memory of a training step is counted.
_BATCH = 16


class Network(nn.Module):
    """Backbone, neck and head of a detector, from the normalised image to the maps of the head.

    For a two-stage detector it ends with the first stage: the cost of the second depends on the proposals of the first.
    """

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector
        self.head = [
            detector.rpn_head if hasattr(detector, 'rpn_head') else detector.bbox_head
        ]  # in a list, so that it is not registered as a child twice

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return all maps of the head, each (N, C, H, W)."""
        return [*_tensors(self.head[0](self.detector.extract_feat(images)))]


def multiply_adds(cfg: Config, size: tuple[int, int]) -> int:
    """Return the multiply-adds of a detector's network for one image.

    Args:
        cfg: complete config of the detector.
        size: width and height of the network's input, pixels.
    """
    cost, _ = measure(Network(build_on_meta(cfg)), torch.empty(1, 3, size[1], size[0], device='meta'))
    return cost.multiply_adds


def counted_costs(cfg: Config, size: tuple[int, int]) -> dict[str, Cost]:
    """Return the costs that follow from a detector's layers and are the same on every machine.

    Args:
        cfg: complete config of the detector.
        size: width and height of the network's input, pixels.
    """
    shape = f'{size[0]} x {size[1]} px'
    network = Network(build_on_meta(cfg))
    total = sum(parameter.numel() for parameter in network.parameters())
    cost, _ = measure(network, torch.empty(1, 3, size[1], size[0], device='meta'))
    peak = training_peak(lambda: Network(build_on_meta(cfg)), _BATCH, max(size))
    return dict(
        parameters=Cost(total, '', "of the whole detector, without BatchNorm's statistics"),
        multiply_adds=Cost(cost.multiply_adds, '', f'of the network for an image of {shape}'),
        memory_access=Cost(cost.memory_access, '', f'elements read and written for an image of {shape}'),
        peak_memory=Cost(
            peak / 1e6, 'MB', f'maximum size of the tensors in a training step, {_BATCH} images of {shape}'
        ),
    )


def _tensors(maps: Any) -> list[Tensor]:
    return [maps] if isinstance(maps, Tensor) else [each for part in maps for each in _tensors(part)]
