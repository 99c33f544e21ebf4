"""Branches side by side, as the Inception networks have them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Branches(nn.ModuleDict):
    """Named branches on the same input, their outputs concatenated in the order of the arguments.

    (N, C, H, W) to (N, sum of the branches' channels, H', W'); the branches have to agree on H' and W'.
    """

    def __init__(self, **branches: nn.Module) -> None:
        super().__init__(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.values()], dim=1)
