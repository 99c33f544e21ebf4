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
    """Runs a model in bfloat16 on the CPU where autocast does so, and keeps weights and gradients in float32.

    MMEngine's ``AmpOptimWrapper`` does that on GPUs only. bfloat16 has the range of float32, so that no loss is scaled,
    and what is saved is what ``OptimWrapper`` saves: a run may go on with either.

    Heads compute their losses of maps in float32 where the hook of ``mmcnn train`` is registered,
    :class:`~mmcnn.runs.precision_hook.PrecisionHook`; other programs have to register it. On a GPU this wrapper changes
    nothing, and ``mmcnn train`` puts ``AmpOptimWrapper`` in its place.

    Args:
        **kwargs: of MMEngine's ``OptimWrapper``.
    """

    #: As of MMEngine's ``AmpOptimWrapper``.
    cast_dtype = torch.bfloat16

    @contextlib.contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Around a forward pass; the backward pass takes the types of the forward pass by itself."""
        with super().optim_context(model), torch.autocast('cpu', self.cast_dtype):
            yield
