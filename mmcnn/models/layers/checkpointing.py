"""Activation checkpointing: less memory in training for a second forward pass (Chen et al., arXiv 1604.06174)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmcnn.compat.private_names import BatchNorm, has_forward_hooks


def checkpointed(module: nn.Module, x: Tensor) -> Tensor:
    """Compute ``module(x)``, keeping only the inputs of its blocks and recomputing the rest for the gradient.

    A block is an item of a chain of ``nn.Sequential``; any other module is a single block. An in-place activation
    is computed only once, because it would change the input that is kept. Random numbers are the same both times, and
    BatchNorm counts a batch once: its statistics stay as they are while a block is computed again.
    """
    for block in _blocks(module):
        if getattr(block, 'inplace', False) is True:
            x = block(x)
        else:
            x = checkpoint(
                block, x, use_reentrant=False, context_fn=lambda block=block: (contextlib.nullcontext(), _seen(block))
            )
    return x


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    if type(module).forward is nn.Sequential.forward and not has_forward_hooks(module):
        for child in module:
            yield from _blocks(child)
    else:
        yield module


@contextlib.contextmanager
def _seen(block: nn.Module) -> Iterator[None]:
    """Keep BatchNorm in training from updating its statistics while it saves the same tensors as usual."""
    norms = [each for each in block.modules() if isinstance(each, BatchNorm)]
    kept = [(each.momentum, each.num_batches_tracked) for each in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
