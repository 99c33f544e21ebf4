"""Deformable convolutions in place of the 3x3 of bottlenecks, as in MMDetection's ResNet."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from torch import nn

from mmcnn.errors import UsageError
from mmcnn.nearest import nearest

from .base import Backbone

KINDS = ('DCN', 'DCNv2')
FIELDS = ('type', 'deform_groups', 'im2col_step', 'fallback_on_stride')


class Deformable(Backbone):
    """A family whose bottlenecks can have deformable convolutions.

    The offsets start at 0, so that weights without offsets behave as in the plain network (the mask of DCNv2 starts at
    0.5, as in other implementations).

    Args:
        variant: row of the family's table.
        dcn: ``dict(type='DCNv2')`` (Zhu et al., arXiv 1811.11168) or ``dict(type='DCN')`` (Dai et al., arXiv
            1703.06211), optionally with ``deform_groups``, the number of groups of channels with offsets of their own.
            None: no deformable convolutions.
        stage_with_dcn: which of the stages behind the stem have them; None: all but the first, that is C3 to C5.
        **kwargs: see :class:`~mmcnn.models.backbones.base.Backbone`.

    Raises:
        UsageError: ``dcn`` cannot be applied to the family, or as in :class:`~mmcnn.models.backbones.base.Backbone`.
    """

    def __init__(
        self, variant: str, *, dcn: dict | None = None, stage_with_dcn: Sequence[bool] | None = None, **kwargs: Any
    ) -> None:
        self.dcn = dcn
        self.stage_with_dcn = stage_with_dcn
        super().__init__(variant, **kwargs)

    def deformed(self, hidden: Sequence[int], bias: bool = False, bottleneck: bool = True) -> list[dict | None]:
        """Return the config of the 3x3 of each stage; None stands for a plain convolution.

        Args:
            hidden: number of channels of the 3x3 of each stage.
            bias: whether the 3x3 have a bias.
            bottleneck: whether the blocks have one 3x3 instead of two.

        Raises:
            UsageError: ``dcn`` and ``stage_with_dcn`` ask for something that is not possible.
        """
        stages = len(hidden)
        if self.dcn is None:
            if self.stage_with_dcn is not None and any(self.stage_with_dcn):
                raise UsageError(
                    f"stage_with_dcn={self.stage_with_dcn!r} of {self.variant} needs dcn=dict(type='DCNv2') as well"
                )
            return [None] * stages
        cfg = self._checked(bias, bottleneck)
        chosen = (False, *[True] * (stages - 1)) if self.stage_with_dcn is None else tuple(self.stage_with_dcn)
        if len(chosen) != stages or not all(isinstance(each, bool) for each in chosen):
            raise UsageError(f'stage_with_dcn={chosen!r} of {self.variant} must be {stages} of True or False')
        groups = cfg.get('deform_groups', 1)
        for channels, is_chosen in zip(hidden, chosen, strict=True):
            if is_chosen and channels % groups:
                raise UsageError(
                    f'deform_groups={groups} of {self.variant} must divide {channels}, the channels of a 3x3'
                )
        return [dict(cfg) if each else None for each in chosen]

    def _checked(self, bias: bool, bottleneck: bool) -> dict:
        """Return ``dcn`` as the config of the convolution."""
        kind = self.dcn.get('type') if isinstance(self.dcn, dict) else None
        if kind not in KINDS:
            raise UsageError(
                f"dcn={self.dcn!r} of {self.variant} must be dict(type='DCNv2') or dict(type='DCN'), "
                'or None for plain convolutions'
            )
        for name in self.dcn:
            if name not in FIELDS:
                raise UsageError(f"dcn of {self.variant} has no field '{name}'; {nearest(name, FIELDS)}")
        if not bottleneck:
            raise UsageError(
                f"dcn replaces the 3x3 of bottlenecks, but {self.variant}'s blocks have two 3x3; as in MMDetection, "
                'use it with resnet50 or deeper'
            )
        if bias and kind == 'DCN':
            raise UsageError(
                f"dcn=dict(type='DCN') of {self.variant}: its convolutions have biases, which DCN lacks; use "
                f'DCNv2, or {self.variant}-tv'
            )
        if self.dcn.get('fallback_on_stride'):
            raise UsageError(
                f'dcn of {self.variant}: fallback_on_stride=True makes plain convolutions; omit dcn instead'
            )
        groups = self.dcn.get('deform_groups', 1)
        if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1:
            raise UsageError(f'deform_groups={groups!r} of {self.variant} must be a positive integer')
        return {name: value for name, value in self.dcn.items() if name != 'fallback_on_stride'}

    def init_weights(self) -> None:
        """Initialise as every backbone does, but do not apply ``init_cfg`` to the convolutions that compute offsets."""
        super().init_weights()
        if not self.is_pretrained:
            for name, parameter in self.named_parameters():
                if _is_offset(name):
                    nn.init.zeros_(parameter)

    def may_lack(self, keys: Collection[str]) -> dict[str, list[str]]:
        """Return the offsets if the file has none of them; a file with only some of them is rejected."""
        offsets = [key for key in self.state_dict() if _is_offset(key)]
        missing = {} if not offsets or set(offsets) & set(keys) else {'offsets, which start at 0': offsets}
        return {**super().may_lack(keys), **missing}


def _is_offset(key: str) -> bool:
    return '.conv_offset.' in key
