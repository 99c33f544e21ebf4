"""The one interface of all backbones: stages declared with their channels and strides, levels named by log2 stride."""

from __future__ import annotations

import dataclasses
import inspect
import math
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import InitVar, dataclass
from typing import Any, ClassVar

import torch
from mmengine.model import BaseModule, PretrainedInit
from torch import Tensor, nn

from mmcnn.compat.private_names import BatchNorm
from mmcnn.errors import CheckpointError, MissingLevelError, UsageError
from mmcnn.models.layers.checkpointing import checkpointed
from mmcnn.models.layers.scaling import scale_channels, scale_depth
from mmcnn.nearest import nearest
from mmcnn.registry import WEIGHT_INITIALIZERS

from .row import Row


@dataclass(frozen=True)
class Stage:
    """A part of a backbone as its family declares it, in order from the image on.

    A stage opens with its downsampling, so the last stage at a stride gives that stride's deepest map, its *level*.
    """

    name: str  # attribute of the backbone, first part of the state-dict keys
    channels: int  # of its output
    stride: int  # of its output against the image, pixels; a power of two
    build: Callable[[], nn.Module]  # called only if a level that is asked for needs the stage
    lateral: InitVar[bool] = False  # of release 0.1.0, kept for one release: True has a class of its own

    def __post_init__(self, lateral: bool) -> None:
        if lateral and not type(self).lateral:
            raise UsageError(
                f"stage '{self.name}': lateral=True is a mmcnn.models.backbones.pyramid.PyramidStage now; its family "
                'derives from mmcnn.models.backbones.pyramid.Pyramid in place of Backbone'
            )


class Backbone(BaseModule):
    """Base of every family: a family holds its ``variants`` and yields its ``stages``, the rest is here.

    **Level i has stride 2**i, in every family.** ``out_indices=(3, 4, 5)`` are the maps of strides 8, 16 and 32 (C3 to
    C5). Output i is (N, C_i, ceil(H / 2**i), ceil(W / 2**i)), also at odd sizes. Stages past the last level asked for
    are not built.

    Args:
        variant: row of the family's table.
        arch: fields of that row to override, ``dict(depths=(1, 1, 2, 2, 1))``.
        in_channels: channels of the image.
        widen_factor: multiplies all widths (rounded up to multiples of 8).
        deepen_factor: multiplies the number of blocks of each stage (rounded, at least 1).
        norm_cfg: updates the row's own normalisation, ``dict(type='SyncBN')`` or ``dict(momentum=0.1)``; a kind without
            running statistics (``dict(type='GN', num_groups=32)``) replaces it.
        out_indices: levels to return, fine to coarse; None: those of ``default_levels`` that the family has.
        frozen_stages: freezes every stage up to and including this level; -1: none.
        norm_eval: keeps BatchNorm statistics fixed in training.
        with_cp: keeps only the inputs of the blocks in training and computes the rest again for the gradient, see
            :func:`~mmcnn.models.layers.checkpointing.checkpointed`: less memory, more time, the same gradients.
        init_cfg: MMEngine initialisation. ``dict(type='Pretrained', checkpoint=FILE, prefix='backbone.')`` has to fit
            exactly, stages that are not built aside; without ``prefix`` the keys are those of the backbone itself.

    Attributes:
        out_channels: channels of each output. out_strides: its stride in pixels. Both fine to coarse.
        levels: all levels that the family has, built or not. unbuilt: names of the stages that are not.
        arch: the row; ``arch.image`` is the image format that its published weights expect.

    Raises:
        UsageError: unknown variant, field, argument or level (a MissingLevelError), each with what there is.
    """

    variants: ClassVar[dict[str, Row]]
    #: What ``out_indices=None`` asks for, as far as the family has it: the levels that detectors use.
    default_levels: ClassVar[tuple[int, ...]] = (2, 3, 4, 5)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if vars(cls).get('pyramid') is True:  # of release 0.1.0, kept for one release
            warnings.warn(
                f'{cls.__name__}.pyramid: a family with a pyramid of its own derives from '
                'mmcnn.models.backbones.pyramid.Pyramid now, and needs no such attribute',
                DeprecationWarning,
                stacklevel=3,  # of the class; its metaclass is in between
            )

    def __init__(
        self,
        variant: str,
        *,
        arch: dict | None = None,
        in_channels: int = 3,
        widen_factor: float = 1.0,
        deepen_factor: float = 1.0,
        norm_cfg: dict | None = None,
        out_indices: Sequence[int] | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
        **unknown: object,
    ) -> None:
        super().__init__(init_cfg)
        self._refuse_unknown(unknown)
        self.variant = variant
        self.arch = self._resolve(variant, arch)
        self.in_channels = _positive('in_channels', in_channels, int)
        self.widen_factor = _positive('widen_factor', widen_factor, (int, float))
        self.deepen_factor = _positive('deepen_factor', deepen_factor, (int, float))
        self.norm_cfg = _merge_norm(variant, self.arch.norm, norm_cfg)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self._assemble(list(self.stages()), out_indices)
        self._freeze()

    def stages(self) -> Iterator[Stage]:
        """The family's stages in order, from ``self.arch``, ``self.in_channels`` and ``self.norm_cfg``."""
        raise NotImplementedError(f'{type(self).__name__} has to yield its stages')

    @property
    def strides(self) -> dict[str, int]:
        """Name of each stage that is built to the stride of its output, pixels, in their order."""
        return dict(self._strides)

    def width(self, channels: int) -> int:
        """``channels`` under the ``widen_factor``."""
        return scale_channels(channels, self.widen_factor)

    def depth(self, blocks: int) -> int:
        """``blocks`` under the ``deepen_factor``."""
        return scale_depth(blocks, self.deepen_factor)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Image (N, in_channels, H, W) to the maps of ``out_indices``, level i (N, C_i, ceil(H/2**i), ceil(W/2**i))."""
        self.check_images(x)
        outputs = []
        for name, returned in self._plan:
            x = self.run_stage(name, x)
            if returned:
                outputs.append(x)
        return tuple(outputs)

    def run_stage(self, name: str, x: Tensor) -> Tensor:
        """What a built stage gives; in training under ``with_cp``."""
        stage = getattr(self, name)
        return checkpointed(stage, x) if self.with_cp and self.training and torch.is_grad_enabled() else stage(x)

    def check_images(self, x: Tensor) -> None:
        """Raises ValueError unless ``x`` is (N, in_channels, H, W)."""
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise UsageError(
                f'{self.variant} takes images (N, {self.in_channels}, H, W), got {tuple(x.shape)}; '
                'pass in_channels=... for another number of channels'
            )

    def train(self, mode: bool = True) -> Backbone:
        """Training mode for all but what ``frozen_stages`` and ``norm_eval`` hold fixed. Returns self."""
        super().train(mode)
        for stage in self._frozen():
            stage.eval()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, BatchNorm):
                    module.eval()
        return self

    @property
    def is_pretrained(self) -> bool:
        """Whether ``init_cfg`` names a file of weights."""
        every = self.init_cfg if isinstance(self.init_cfg, list) else [self.init_cfg or {}]
        return any(each.get('type') in ('Pretrained', PretrainedInit) for each in every)

    def init_weights(self) -> None:
        """Applies ``init_cfg``.

        ``dict(type='Pretrained', checkpoint=...)`` is :class:`mmcnn.weights.initializer.Pretrained`: any file that
        mmcnn reads, held to fit exactly.

        Raises:
            CheckpointError: a pretrained file is missing, broken, unsafe or does not fit, or ``init_cfg`` says more
                than that.
        """
        if not self.is_pretrained:
            super().init_weights()
            return
        every = self.init_cfg if isinstance(self.init_cfg, list) else [self.init_cfg]
        if len(every) > 1:
            raise CheckpointError(f"init_cfg of {self.variant}: 'Pretrained' fills every entry, so it stands alone")
        # By its name: the registry imports what loads weights, which stands above this module.
        WEIGHT_INITIALIZERS.build({**every[0], 'type': 'mmcnn.Pretrained'})(self)
        self.is_init = True  # as MMEngine marks it

    def extra_repr(self) -> str:
        return f'variant={self.variant!r}, out_indices={self.out_indices}, out_channels={self.out_channels}'

    # --------------------------------------------------------------------------------------------------- assembling

    def _refuse_unknown(self, unknown: dict[str, object]) -> None:
        if unknown:
            name = next(iter(unknown))
            if name in ('dcn', 'stage_with_dcn'):
                raise UsageError(
                    f'{type(self).__name__} has no bottleneck whose 3x3 {name} could deform; ResNet, ResNetV2 and '
                    'ResNeXt have'
                )
            known = {
                each.name
                for cls in type(self).__mro__
                if issubclass(cls, Backbone)
                for each in inspect.signature(cls.__init__).parameters.values()
                if each.name == 'variant' or each.kind == each.KEYWORD_ONLY
            }
            raise UsageError(f"{type(self).__name__} has no argument '{name}'; {nearest(name, known)}")

    def _resolve(self, variant: str, overrides: dict | None) -> Any:
        if variant not in self.variants:
            raise UsageError(f"{type(self).__name__} has no variant '{variant}'; {nearest(variant, self.variants)}")
        row = self.variants[variant]
        fields = [field.name for field in dataclasses.fields(row)]
        for name in overrides or {}:
            if name not in fields:
                raise UsageError(f"{type(self).__name__}: arch has no field '{name}'; {nearest(name, fields)}")
            count = len(getattr(row, name)) if isinstance(getattr(row, name), tuple) else None
            given = overrides[name]
            if count is not None and (not isinstance(given, Sequence) or len(given) != count):
                raise UsageError(
                    f'{type(self).__name__}: arch field {name}={given!r} needs {count} entries, as in {variant}'
                )
        return dataclasses.replace(row, **(overrides or {}))

    def _assemble(self, stages: list[Stage], out_indices: Sequence[int] | None) -> None:
        if out_indices is not None and not isinstance(out_indices, Sequence):
            raise UsageError(
                f'out_indices={out_indices!r} of {self.variant} has to be a list of levels, such as (3, 4, 5)'
            )
        last_at = {int(math.log2(stage.stride)): stage for stage in stages}
        self.levels = tuple(sorted(last_at))
        wanted = tuple(i for i in self.default_levels if i in last_at) if out_indices is None else tuple(out_indices)
        have = f'its levels are {list(self.levels)} (level i has stride 2**i)'
        for level in wanted:
            if type(level) is not int or level not in last_at:
                raise MissingLevelError(f'{type(self).__name__} ({self.variant}) has no level {level!r}; {have}', level)
        if not wanted or list(wanted) != sorted(set(wanted)):
            raise UsageError(f'out_indices={wanted} of {self.variant} has to be increasing and not empty; {have}')
        if self.frozen_stages != -1 and self.frozen_stages not in last_at:
            raise UsageError(f'frozen_stages={self.frozen_stages!r} of {self.variant} is not a level or -1; {have}')

        self.out_indices = wanted
        self.out_channels = tuple(last_at[level].channels for level in wanted)
        self.out_strides = tuple(last_at[level].stride for level in wanted)
        returned = {last_at[level].name for level in wanted}
        self._plan: list[tuple[str, bool]] = []
        self._strides: dict[str, int] = {}  # of the stages that frozen_stages counts
        self.unbuilt = frozenset(stage.name for stage in stages if not self._needs(stage))
        for stage in stages:
            if stage.name not in self.unbuilt:
                self.add_module(stage.name, stage.build())
                self._plan.append((stage.name, stage.name in returned))
                self._strides[stage.name] = stage.stride

    def may_lack(self, keys: Collection[str]) -> dict[str, list[str]]:
        """Entries that a file of weights with these keys need not have, under the reason why."""
        return {}

    def _needs(self, stage: Stage) -> bool:
        """Whether a level that is asked for needs the stage."""
        return stage.stride <= self.out_strides[-1]

    def _frozen(self) -> Iterator[nn.Module]:
        if self.frozen_stages >= 0:
            yield from (getattr(self, name) for name, s in self._strides.items() if s <= 2**self.frozen_stages)

    def _freeze(self) -> None:
        for stage in self._frozen():
            stage.requires_grad_(False)
            stage.eval()


def _merge_norm(variant: str, own: dict | None, given: dict | None) -> dict | None:
    """The row's normalisation updated by the user's."""
    if not isinstance(given, dict | None):
        raise UsageError(f"norm_cfg={given!r} of {variant} has to be a dict, such as dict(type='BN')")
    given = given or {}
    kind = given.get('type')
    if own is None and given and kind is None:
        raise UsageError(f"{variant} has no normalisation: norm_cfg={given} needs a type, such as dict(type='BN')")
    keep = own if kind is None or kind.endswith(('BN', 'BN2d')) else None  # GN or LN know no momentum
    return {**(keep or {}), **given} or None


def _positive(name: str, value: Any, kinds: type | tuple[type, ...]) -> Any:
    if isinstance(value, bool) or not isinstance(value, kinds) or not value > 0:
        raise UsageError(f'{name}={value!r} has to be a positive number')
    return value
