"""Additional coarser levels for a backbone that already is a pyramid."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional as F

from mmcnn.registry import MODELS


@MODELS.register_module()
class ExtraMaxPools(BaseModule):
    """Passes its maps through and adds coarser ones, each subsampled by 2 from the one before.

    A max-pool of kernel 1 and stride 2, as for FPN's P6 (Lin et al., arXiv 1612.03144); it has no parameters.

    Args:
        in_channels: number of channels of the maps, fine to coarse.
        num_outs: total number of output maps.
        init_cfg: MMEngine initialisation.

    Raises:
        ValueError: there are fewer outputs than inputs.
    """

    def __init__(self, in_channels: Sequence[int], num_outs: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if num_outs < len(in_channels):
            raise ValueError(f'num_outs={num_outs} must be at least {len(in_channels)}, the number of inputs')
        self.num_outs = num_outs
        self.out_channels = (*in_channels, *[in_channels[-1]] * (num_outs - len(in_channels)))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the maps (N, C_i, H_i, W_i) and repeated halvings (N, C, ceil(H / 2), ceil(W / 2)) of the coarsest."""
        maps = list(maps)
        while len(maps) < self.num_outs:
            maps.append(F.max_pool2d(maps[-1], kernel_size=1, stride=2))
        return tuple(maps)
