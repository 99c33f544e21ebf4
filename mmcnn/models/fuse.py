"""Networks for inference: BatchNorm folded into the convolution before it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise

from mmcv.cnn import Conv2d as MMCVConv2d
from mmcv.cnn import ConvModule
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mmcnn.compat.private_names import BatchNorm, has_forward_hooks

from .layers import ConvNormAct, SameConv2d

#: Convolutions that compute with their kernel as it is; a subclass may standardise or deform it.
FOLDABLE = (nn.Conv2d, SameConv2d, MMCVConv2d)


def fuse(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode that computes the same with fewer operators.

    Folded are the BatchNorms with running statistics directly behind a convolution: in our ``ConvNormAct``, in MMCV's
    ``ConvModule`` in the order convolution, norm, activation, and in a plain ``nn.Sequential``. A module with a method
    ``folded()`` (ResNeXt's summed paths) is replaced by what that gives. All else stays.

    The copy is for inference: no parameter asks for a gradient, and no BatchNorm is left to train. Its state dict, with
    ``conv.bias`` and without ``bn.*``, is not that of the network: each is refused where the other is loaded strictly,
    as :func:`mmcnn.weights.loading.load_state` does. So keep the weights of ``model``, which is left as it was, and
    fold again after loading.
    """
    fused = copy.deepcopy(model)
    fused.eval()  # some of MMDetection's backbones return None
    for module in list(fused.modules()):
        for conv, norm in _pairs(module):
            if _folds(getattr(module, conv), getattr(module, norm)):
                setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
                setattr(module, norm, nn.Identity())
        for name, child in module.named_children():
            if hasattr(child, 'folded'):
                setattr(module, name, child.folded())
    return fused.requires_grad_(False)


def _pairs(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of a module's children that it runs one directly behind the other."""
    forward = type(module).forward  # a subclass with another one may use them in another way
    if forward is ConvNormAct.forward:
        yield 'conv', 'bn'
    elif forward is ConvModule.forward:
        if module.with_norm and module.order[:2] == ('conv', 'norm'):
            yield 'conv', module.norm_name
    elif forward is nn.Sequential.forward:
        # named_children() leaves out a child that comes twice
        yield from pairwise(
            name for name, _ in module.named_modules(remove_duplicate=False) if name and '.' not in name
        )


def _folds(conv: nn.Module, norm: nn.Module) -> bool:
    return (
        type(conv) in FOLDABLE
        and isinstance(norm, BatchNorm)
        and norm.running_mean is not None
        # They may change the kernel (spectral norm) or want to see the map between the two.
        and not (has_forward_hooks(conv) or has_forward_hooks(norm))
        and not parametrize.is_parametrized(conv)
    )
