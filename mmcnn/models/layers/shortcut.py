"""The addition at the end of a residual block."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmcnn.compat.private_names import has_hooks


def add_shortcut(out: Tensor, shortcut: Tensor, *made_by: nn.Module) -> Tensor:
    """Return ``out + shortcut``, two maps of the same shape, in place if nothing else uses ``out``.

    Only for an ``out`` that no backward pass needs: the output of a convolution, a norm or a product, not of an
    activation. It is not overwritten if a hook of the modules that made it may have kept it, or in a graph that is
    being traced, where the compiler places the sum.

    Args:
        out: output of the residual branch, (N, C, H, W).
        shortcut: (N, C, H, W), added to it.
        *made_by: the modules that computed ``out`` last.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or out.dtype != shortcut.dtype or has_hooks(*made_by):
        return out + shortcut
    return out.add_(shortcut)
