"""The common part of backbones with a feature pyramid (FPN: Lin et al., arXiv 1612.03144, Figure 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass

from torch import Tensor
from torch.nn import functional as F

from .base import Backbone, Stage


@dataclass(frozen=True)
class PyramidStage(Stage):
    """A stage of the pyramid rather than of the bottom-up trunk.

    Its output replaces the trunk's map of the level. Stages of the pyramid are built from the finest to the coarsest
    requested level and are never frozen. A family yields them behind the trunk's stage whose map they take.
    """

    lateral: InitVar[bool] = True  # the argument of release 0.1.0, kept for one release


class Pyramid(Backbone):
    """A bottom-up trunk with a top-down path: all outputs have the same width, and each includes the coarser ones.

    A family yields a :class:`PyramidStage` named ``lateral{i}`` for each level i of the path.
    """

    def sums(self, x: Tensor, finest: int, coarsest: int) -> dict[int, Tensor]:
        """Run the trunk and the top-down path.

        Args:
            x: image (N, in_channels, H, W).
            finest: first level of the path.
            coarsest: last level of the path.

        Returns:
            For each level i of the path, (N, C, ceil(H/2**i), ceil(W/2**i)): the lateral of the trunk's map plus the
            next coarser sum, upsampled by nearest neighbours.
        """
        self.check_images(x)
        maps = {}
        for name, stride in self._strides.items():
            x = maps[stride] = self.run_stage(name, x)
        sums: dict[int, Tensor] = {}
        for level in range(coarsest, finest - 1, -1):
            lateral = getattr(self, f'lateral{level}')(maps[2**level])
            if level < coarsest:
                lateral = lateral + F.interpolate(sums[level + 1], size=lateral.shape[-2:], mode='nearest')
            sums[level] = lateral
        return sums

    def _assemble(self, stages: list[Stage], out_indices: Sequence[int] | None) -> None:
        super()._assemble(stages, out_indices)
        for stage in stages:
            if isinstance(stage, PyramidStage):
                self._strides.pop(stage.name, None)

    def _needs(self, stage: Stage) -> bool:
        above = isinstance(stage, PyramidStage) and stage.stride < self.out_strides[0]
        return super()._needs(stage) and not above
