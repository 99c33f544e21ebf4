"""A timm network as a backbone; timm is imported only when one is built."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor

from mmcnn.compat.private_names import BatchNorm
from mmcnn.errors import DependencyError, MissingLevelError, UsageError
from mmcnn.models.layers.checkpointing import checkpointed
from mmcnn.nearest import nearest
from mmcnn.registry import MODELS

from .base import Backbone


@MODELS.register_module()
class TimmBackbone(BaseModule):
    """timm's ``features_only`` form of a network, with levels named by stride as in all our backbones.

    ``dict(type='mmcnn.TimmBackbone', model='regnety_004', out_indices=(3, 4, 5))``. The sizes of the maps are timm's:
    where a network does not pad, they are not exact fractions of the image size, and YOLO necks reject them.

    Args:
        model: name of the network in timm.
        out_indices: levels to return, fine to coarse; level i has stride 2**i. None: those of 2 to 5 that exist.
        pretrained: load timm's own weights, which timm downloads.
        in_channels: number of channels of the images.
        with_cp: activation checkpointing, see :class:`~mmcnn.models.backbones.base.Backbone`.
        init_cfg: MMEngine initialisation.
        **kwargs: further arguments of ``timm.create_model``.

    Attributes:
        out_channels: number of channels of each output, fine to coarse.
        out_strides: stride of each output in pixels, fine to coarse.

    Raises:
        DependencyError: timm is not installed or cannot be imported.
        UsageError: timm has no such network, the network returns no maps, or it lacks a level (MissingLevelError).
    """

    def __init__(
        self,
        model: str,
        out_indices: Sequence[int] | None = None,
        pretrained: bool = False,
        in_channels: int = 3,
        with_cp: bool = False,
        init_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(init_cfg)
        try:
            import timm
        except ImportError as error:
            raise DependencyError(
                f"the backbone '{model}' needs timm, which is not installed: pip install timm"
            ) from error
        except RuntimeError as error:  # raised by torchvision, which timm imports, if it was built for another PyTorch
            raise DependencyError(
                f"the backbone '{model}' needs timm, which cannot be imported: {error}; install the torchvision "
                'release that matches this PyTorch'
            ) from error
        if not timm.is_model(model):
            raise UsageError(f"timm has no network '{model}'; {nearest(model, timm.list_models())}")
        try:
            with torch.device('meta'):
                info = timm.create_model(model, features_only=True).feature_info
        except (RuntimeError, AttributeError) as error:
            raise UsageError(f"timm's '{model}' returns no feature maps: {error}") from error
        last_at = {int(math.log2(stride)): index for index, stride in enumerate(info.reduction())}
        wanted = (
            tuple(i for i in Backbone.default_levels if i in last_at) if out_indices is None else tuple(out_indices)
        )
        for level in wanted:
            if level not in last_at:
                raise MissingLevelError(
                    f"timm's '{model}' has no level {level!r}; its levels are {sorted(last_at)}", level
                )
        chosen = [last_at[level] for level in wanted]
        self.in_channels = in_channels
        self.out_indices = wanted
        self.out_channels = tuple(info.channels()[i] for i in chosen)
        self.out_strides = tuple(info.reduction()[i] for i in chosen)
        self.model = timm.create_model(
            model, features_only=True, out_indices=chosen, pretrained=pretrained, in_chans=in_channels, **kwargs
        )
        self.with_cp = with_cp
        if with_cp and not hasattr(self.model, 'return_layers'):
            self._checkpoint_by_timm(model)

    def _checkpoint_by_timm(self, name: str) -> None:
        """Use timm's own checkpointing where blocks are not called in sequence; its BatchNorm counts batches twice."""
        if any(isinstance(each, BatchNorm) for each in self.modules()):
            raise UsageError(
                f"with_cp=True: timm's '{name}' has BatchNorm in blocks that only timm itself can recompute, so "
                'each batch would count twice in its statistics'
            )
        if not hasattr(self.model, 'set_grad_checkpointing'):
            raise UsageError(f"with_cp=True: timm's '{name}' cannot recompute its blocks for the gradient")
        self.model.set_grad_checkpointing(True)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps of ``out_indices`` of images (N, in_channels, H, W)."""
        layers = getattr(self.model, 'return_layers', None)
        if layers is None or not (self.with_cp and self.training and torch.is_grad_enabled()):
            return tuple(self.model(x))
        maps = []
        for name, module in self.model.items():
            x = checkpointed(module, x)
            if name in layers:
                maps.append(x if isinstance(x, Tensor) else torch.cat(x, 1) if self.model.concat else x[0])
        return tuple(maps)
