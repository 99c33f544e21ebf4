"""The last stages of a backbone as a part of their own: the shared head of a detector on C4 (arXiv 1506.01497)."""

from __future__ import annotations

import copy

from mmengine.model import BaseModule
from torch import Tensor

from mmcnn.errors import UsageError
from mmcnn.registry import MODELS

from .base import Backbone


@MODELS.register_module()
class LastStages(BaseModule):
    """What a family has behind a level, applied to the maps of that level: to regions of interest, in a detector on C4.

    ``dict(type='mmcnn.LastStages', backbone=dict(type='mmcnn.resnet50'), after=4)`` is MMDetection's
    ``shared_head=dict(type='ResLayer', depth=50, stage=3)`` for any family. Its weights start as those of the family:
    random.

    Args:
        backbone: config of one of our backbones; ``out_indices`` are worked out.
        after: level whose maps come in. The level after it is what goes out.

    Attributes:
        in_channels: of the maps of level ``after``. out_channels: of those of the next one.

    Raises:
        UsageError: the family is no chain of stages, or has no level behind this one (a MissingLevelError).
    """

    def __init__(self, backbone: dict, after: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        whole = MODELS.build({**copy.deepcopy(dict(backbone)), 'out_indices': (after, after + 1)})
        if not isinstance(whole, Backbone) or type(whole).forward is not Backbone.forward:
            raise UsageError(
                f'{backbone["type"]} is no chain of stages, so that its last ones are no head of their own'
            )
        self.in_channels, self.out_channels = whole.out_channels
        self.after = after
        self._names = [name for name, stride in whole.strides.items() if stride > 2**after]
        for name in self._names:
            self.add_module(name, getattr(whole, name))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_channels, H, W) to (N, out_channels, ceil(H/2), ceil(W/2))."""
        for name in self._names:
            x = getattr(self, name)(x)
        return x
