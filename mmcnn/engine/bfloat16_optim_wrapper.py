"""Mixed precision on a CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmcnn.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Runs a model in bfloat16 on the CPU where autocast supports it, and keeps weights and gradients in float32.

    MMEngine's ``AmpOptimWrapper`` does that only on GPUs. bfloat16 has the range of float32, so the loss is not scaled,
    and checkpoints equal those of ``OptimWrapper``: a run may be resumed with either.

    Heads compute their losses in float32 if the hook of ``mmcnn train`` is registered,
    :class:`~mmcnn.runs.precision_hook.PrecisionHook`; other programs must register it. On a GPU this wrapper has no
    effect, and ``mmcnn train`` replaces it with ``AmpOptimWrapper``.

    Args:
        **kwargs: Arguments of MMEngine's ``OptimWrapper``.
    """

    #: As in MMEngine's ``AmpOptimWrapper``.
    cast_dtype = torch.bfloat16

    @contextlib.contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enclose a forward pass; the backward pass uses the types of the forward pass automatically."""
        with super().optim_context(model), torch.autocast('cpu', self.cast_dtype):
            yield
