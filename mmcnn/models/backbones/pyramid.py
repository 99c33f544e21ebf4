"""What backbones with a feature pyramid of their own share (FPN: Lin et al., arXiv 1612.03144, Figure 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass

from torch import Tensor
from torch.nn import functional as F

from .base import Backbone, Stage


@dataclass(frozen=True)
class PyramidStage(Stage):
    """A part of the pyramid, not of the trunk.

    It gives the level's map in the trunk's place, is built from the finest to the coarsest level asked for, and is
    never frozen. A family yields it after the trunk's stage whose map it takes.
    """

    lateral: InitVar[bool] = True  # what release 0.1.0 called it, kept for one release


class Pyramid(Backbone):
    """A trunk and the top-down path over it: its outputs are maps of one width, each with what the coarser ones know.

    A family yields a :class:`PyramidStage` named ``lateral{i}`` for each level i of the path.
    """

    def sums(self, x: Tensor, finest: int, coarsest: int) -> dict[int, Tensor]:
        """Runs the trunk and the top-down path.

        Args:
            x: image (N, in_channels, H, W).
            finest, coarsest: first and last level of the path.

        Returns:
            of each level i of the path (N, C, ceil(H/2**i), ceil(W/2**i)): the lateral of the trunk's map plus the next
            coarser sum, upsampled to the nearest.
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
