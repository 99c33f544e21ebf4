"""The addition at the end of a residual block."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmcnn.compat.private_names import has_hooks


def add_shortcut(out: Tensor, shortcut: Tensor, *made_by: nn.Module) -> Tensor:
    """``out + shortcut``, two maps of one shape, written over ``out`` where nobody else has it.

    Only for an ``out`` that no backward pass needs: that of a convolution, a normalisation or a product, not of an
    activation. It is left as it is where a hook of the modules that made it may have kept it, and in a graph that is
    being recorded, where the compiler places the sum.

    Args:
        out: end of the residual branch, (N, C, H, W).
        shortcut: what is added to it.
        made_by: the modules through which ``out`` came last.
    """
    if (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or out.dtype != shortcut.dtype
        or any(has_hooks(module) for each in made_by for module in each.modules())
    ):
        return out + shortcut
    return out.add_(shortcut)
