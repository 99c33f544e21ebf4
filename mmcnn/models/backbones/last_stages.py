"""The last stages of a backbone as a module of their own: the shared head of a detector on C4 (arXiv 1506.01497)."""

from __future__ import annotations

import copy

from mmengine.model import BaseModule
from torch import Tensor

from mmcnn.errors import UsageError
from mmcnn.registry import MODELS

from .base import Backbone


@MODELS.register_module()
class LastStages(BaseModule):
    """The stages of a family behind a given level, applied to maps of that level: to RoIs in a C4 detector.

    ``dict(type='mmcnn.LastStages', backbone=dict(type='mmcnn.resnet50'), after=4)`` is MMDetection's
    ``shared_head=dict(type='ResLayer', depth=50, stage=3)`` for any family. Its weights are initialised randomly, as
    those of the family.

    Args:
        backbone: config of one of our backbones; ``out_indices`` is derived.
        after: level of the input maps. The output maps are of the next level.
        init_cfg: MMEngine initialisation.

    Attributes:
        in_channels: number of channels of level ``after``.
        out_channels: number of channels of the next level.

    Raises:
        UsageError: the family is not a chain of stages, or it has no level behind this one (MissingLevelError).
    """

    def __init__(self, backbone: dict, after: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        whole = MODELS.build({**copy.deepcopy(dict(backbone)), 'out_indices': (after, after + 1)})
        if not isinstance(whole, Backbone) or type(whole).forward is not Backbone.forward:
            raise UsageError(f'{backbone["type"]} is not a chain of stages, so its last ones cannot be used as a head')
        self.in_channels, self.out_channels = whole.out_channels
        self.after = after
        self._names = [name for name, stride in whole.strides.items() if stride > 2**after]
        for name in self._names:
            self.add_module(name, getattr(whole, name))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, ceil(H/2), ceil(W/2))."""
        for name in self._names:
            x = getattr(self, name)(x)
        return x
