"""The common interface of all backbones: stages with declared channels and strides, levels named by log2 stride."""

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
    """A part of a backbone as its family declares it; stages are listed from the image on.

    A stage starts with its downsampling, so the last stage at a given stride yields the deepest map of that stride: its
    *level*.
    """

    name: str  # attribute of the backbone and first part of its state-dict keys
    channels: int  # number of output channels
    stride: int  # stride of the output relative to the image, in pixels; a power of two
    build: Callable[[], nn.Module]  # called only if a requested level needs the stage
    lateral: InitVar[bool] = False  # deprecated since 0.1.0, kept for one release: use the class PyramidStage

    def __post_init__(self, lateral: bool) -> None:
        if lateral and not type(self).lateral:
            raise UsageError(
                f"stage '{self.name}': lateral=True is now mmcnn.models.backbones.pyramid.PyramidStage; its family "
                'must derive from mmcnn.models.backbones.pyramid.Pyramid instead of Backbone'
            )


class Backbone(BaseModule):
    """Base class of all families: a family defines ``variants`` and ``stages``, everything else is implemented here.

    **Level i has stride 2**i in every family.** ``out_indices=(3, 4, 5)`` are the maps of strides 8, 16 and 32 (C3 to
    C5). Output i is (N, C_i, ceil(H / 2**i), ceil(W / 2**i)), also for odd image sizes. Stages beyond the last
    requested level are not built.

    Args:
        variant: row of the family's table.
        arch: fields of that row to override, such as ``dict(depths=(1, 1, 2, 2, 1))``.
        in_channels: number of channels of the images.
        widen_factor: multiplies all widths (rounded up to multiples of 8).
        deepen_factor: multiplies the number of blocks of each stage (rounded, at least 1).
        norm_cfg: updates the row's own normalisation, such as ``dict(type='SyncBN')`` or ``dict(momentum=0.1)``; a kind
            without running statistics (``dict(type='GN', num_groups=32)``) replaces it.
        out_indices: levels to return, fine to coarse; None: those of ``default_levels`` that the family has.
        frozen_stages: freezes every stage up to and including this level; -1 freezes none.
        norm_eval: keeps the BatchNorm statistics fixed during training.
        with_cp: activation checkpointing: during training only the inputs of the blocks are kept and the rest is
            recomputed for the gradient, see :func:`~mmcnn.models.layers.checkpointing.checkpointed`. This takes less
            memory and more time and gives the same gradients.
        init_cfg: MMEngine initialisation. The file of ``dict(type='Pretrained', checkpoint=FILE, prefix='backbone.')``
            has to fit exactly, except for stages that are not built; without ``prefix`` the keys are those of the
            backbone itself.
        **unknown: anything else is rejected.

    Attributes:
        out_channels: number of channels of each output, fine to coarse.
        out_strides: stride of each output in pixels, fine to coarse.
        levels: all levels that the family has, built or not.
        unbuilt: names of the stages that are not built.
        arch: the row; ``arch.image`` is the image format that its published weights expect.

    Raises:
        UsageError: the variant, field, argument or level (MissingLevelError) is unknown; the message lists the valid
            ones.
    """

    variants: ClassVar[dict[str, Row]]
    #: What ``out_indices=None`` asks for, as far as the family has it: the levels that detectors use.
    default_levels: ClassVar[tuple[int, ...]] = (2, 3, 4, 5)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if vars(cls).get('pyramid') is True:  # deprecated since 0.1.0, kept for one release
            warnings.warn(
                f'{cls.__name__}.pyramid: a family with its own pyramid must now derive from '
                'mmcnn.models.backbones.pyramid.Pyramid, and the attribute is no longer needed',
                DeprecationWarning,
                stacklevel=3,  # the subclass's own line; its metaclass is in between
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
        """Yield the stages of the family in order, from ``self.arch``, ``self.in_channels`` and ``self.norm_cfg``."""
        raise NotImplementedError(f'{type(self).__name__} must yield its stages')

    @property
    def strides(self) -> dict[str, int]:
        """Stride in pixels of the output of each stage that is built, by the stage's name, in order."""
        return dict(self._strides)

    def width(self, channels: int) -> int:
        """Return ``channels`` scaled by ``widen_factor``."""
        return scale_channels(channels, self.widen_factor)

    def depth(self, blocks: int) -> int:
        """Return ``blocks`` scaled by ``deepen_factor``."""
        return scale_depth(blocks, self.deepen_factor)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, in_channels, H, W) to the levels ``out_indices``, (N, C_i, ceil(H/2**i), ceil(W/2**i))."""
        self.check_images(x)
        outputs = []
        for name, returned in self._plan:
            x = self.run_stage(name, x)
            if returned:
                outputs.append(x)
        return tuple(outputs)

    def run_stage(self, name: str, x: Tensor) -> Tensor:
        """Run a stage on its input; in training with ``with_cp``, its activations are recomputed for the gradient."""
        stage = getattr(self, name)
        return checkpointed(stage, x) if self.with_cp and self.training and torch.is_grad_enabled() else stage(x)

    def check_images(self, x: Tensor) -> None:
        """Raise UsageError unless ``x`` is (N, in_channels, H, W)."""
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise UsageError(
                f'{self.variant} takes images (N, {self.in_channels}, H, W), got {tuple(x.shape)}; '
                'pass in_channels=... for another number of channels'
            )

    def train(self, mode: bool = True) -> Backbone:
        """Set training mode, except for what ``frozen_stages`` and ``norm_eval`` keep fixed, and return self."""
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
        """Apply ``init_cfg``.

        ``dict(type='Pretrained', checkpoint=...)`` uses :class:`mmcnn.weights.initializer.Pretrained`, which reads any
        file that mmcnn can read and requires it to fit exactly.

        Raises:
            CheckpointError: a pretrained file is missing, damaged, unsafe or does not fit, or ``init_cfg`` combines it
                with other initialisers.
        """
        if not self.is_pretrained:
            super().init_weights()
            return
        every = self.init_cfg if isinstance(self.init_cfg, list) else [self.init_cfg]
        if len(every) > 1:
            raise CheckpointError(
                f"init_cfg of {self.variant}: 'Pretrained' initializes all entries and cannot be combined"
            )
        # By name: the initialiser imports the code that loads weights, which is above this module.
        WEIGHT_INITIALIZERS.build({**every[0], 'type': 'mmcnn.Pretrained'})(self)
        self.is_init = True  # as MMEngine does

    def extra_repr(self) -> str:
        """Return the variant and its outputs for ``repr``."""
        return f'variant={self.variant!r}, out_indices={self.out_indices}, out_channels={self.out_channels}'

    # --------------------------------------------------------------------------------------------------- assembling

    def _refuse_unknown(self, unknown: dict[str, object]) -> None:
        if unknown:
            name = next(iter(unknown))
            if name in ('dcn', 'stage_with_dcn'):
                raise UsageError(
                    f'{type(self).__name__} has no bottlenecks for {name}; use ResNet, ResNetV2 or ResNeXt'
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
                f'out_indices={out_indices!r} of {self.variant} must be a list of levels, such as (3, 4, 5)'
            )
        last_at = {int(math.log2(stage.stride)): stage for stage in stages}
        self.levels = tuple(sorted(last_at))
        wanted = tuple(i for i in self.default_levels if i in last_at) if out_indices is None else tuple(out_indices)
        have = f'its levels are {list(self.levels)} (level i has stride 2**i)'
        for level in wanted:
            if type(level) is not int or level not in last_at:
                raise MissingLevelError(f'{type(self).__name__} ({self.variant}) has no level {level!r}; {have}', level)
        if not wanted or list(wanted) != sorted(set(wanted)):
            raise UsageError(f'out_indices={wanted} of {self.variant} must be increasing and not empty; {have}')
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
        """Return the entries that a file of weights with these keys may lack, grouped by the reason."""
        return {}

    def _needs(self, stage: Stage) -> bool:
        """Return whether a requested level needs the stage."""
        return stage.stride <= self.out_strides[-1]

    def _frozen(self) -> Iterator[nn.Module]:
        if self.frozen_stages >= 0:
            yield from (getattr(self, name) for name, s in self._strides.items() if s <= 2**self.frozen_stages)

    def _freeze(self) -> None:
        for stage in self._frozen():
            stage.requires_grad_(False)
            stage.eval()


def _merge_norm(variant: str, own: dict | None, given: dict | None) -> dict | None:
    """Return the row's normalisation, updated by the user's."""
    if not isinstance(given, dict | None):
        raise UsageError(f"norm_cfg={given!r} of {variant} must be a dict, such as dict(type='BN')")
    given = given or {}
    kind = given.get('type')
    if own is None and given and kind is None:
        raise UsageError(f"{variant} has no normalisation: norm_cfg={given} needs a type, such as dict(type='BN')")
    keep = own if kind is None or kind.endswith(('BN', 'BN2d')) else None  # GN and LN take no momentum
    return {**(keep or {}), **given} or None


def _positive(name: str, value: Any, kinds: type | tuple[type, ...]) -> Any:
    if isinstance(value, bool) or not isinstance(value, kinds) or not value > 0:
        raise UsageError(f'{name}={value!r} has to be a positive number')
    return value
