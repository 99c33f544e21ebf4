"""Networks for inference: BatchNorm folded into the preceding convolution, activations fused with it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from mmcv.cnn import Conv2d as MMCVConv2d
from mmcv.cnn import ConvModule
from mmengine.model import BaseModel, BaseModule
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mmcnn.compat.onednn import activation_of
from mmcnn.compat.private_names import BatchNorm, has_forward_hooks

from .layers import ConvNormAct, NormAct, SameConv2d
from .layers.one_pass import OnePassConv2d, OnePassUnit, fits

#: Convolutions that compute with their kernel as it is; a subclass may standardise or deform it.
FOLDABLE = (nn.Conv2d, SameConv2d, MMCVConv2d)
# Origins of ``forward`` methods that give the same numbers whatever the memory layout of the input. Others may call
# ``view``, which needs PyTorch's default layout.
ANY_LAYOUT = (
    'torch.nn.modules.',
    'mmcnn.models.',
    'mmengine.model.',
    *(f'mmcv.cnn.bricks.{name}.' for name in ('activation', 'conv_module', 'drop', 'hswish', 'scale', 'swish')),
    'mmcv.cnn.bricks.wrappers.',
)


def fuse(model: nn.Module, compile: bool = False) -> nn.Module:
    """Return a copy in evaluation mode that computes the same with fewer operators and fewer passes over memory.

    BatchNorms are folded, see :func:`fold`. On an x86 processor the networks of this package (backbones, necks,
    classifiers, also as parts of other models) then compute a convolution and its activation in one pass, with the
    channels last in memory and with weights that are reordered once:
    :class:`~mmcnn.models.layers.one_pass.OnePassConv2d`. Outputs have the default memory layout. A network is only
    folded if one of its parts is from another package or has hooks, since such a part may depend on the default layout.

    The copy is for inference: no parameter requires a gradient, and BatchNorms that are left, such as DenseNet's before
    a convolution, must stay in evaluation mode. Its state dict, with ``conv.bias`` and without ``bn.*``, differs from
    that of the original: neither can be loaded into the other strictly, as :func:`mmcnn.weights.loading.load_state`
    does. So keep the weights of ``model``, which is left unchanged, and fuse again after loading. Move the model to its
    device first: on a GPU the copy is the folded network.

    Args:
        model: the model.
        compile: compile the folded network with PyTorch's compiler (Inductor) and its weights as constants instead,
            which takes seconds to minutes at the first call and needs a C++ compiler (on a GPU, Triton). Of a detector,
            backbone and neck are compiled. For many images of one size; it is not faster for every network (see
            docs/performance.md). Call the copy under :func:`torch.no_grad`: with gradients its weights are no constants
            and it is slower. PyTorch's compiler raises its own errors at the first call.
    """
    fused = fold(model)
    if compile:
        return _compiled(fused)
    for network in _networks(fused):
        if _compute_in_one_pass(network):
            network.register_forward_hook(_in_usual_form)
    return fused


def fold(model: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode for inference with BatchNorms folded, using PyTorch's operators only.

    A BatchNorm of PyTorch, or a subclass with its ``forward``, that has running statistics is folded if it directly
    follows a convolution: in our ``ConvNormAct``, in MMCV's ``ConvModule`` in the order convolution, norm, activation,
    and in a plain ``nn.Sequential``. A module with a method ``folded()`` (ResNeXt's summed paths) is replaced by its
    result. Everything else is kept.
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
    """Yield the names of a module's children that run directly one after the other."""
    forward = type(module).forward  # a subclass with its own forward may use them differently
    if forward is ConvNormAct.forward:
        yield 'conv', 'bn'
    elif forward is ConvModule.forward:
        if module.with_norm and module.order[:2] == ('conv', 'norm'):
            yield 'conv', module.norm_name
    elif forward is nn.Sequential.forward:
        # named_children() omits a child that occurs twice
        yield from pairwise(
            name for name, _ in module.named_modules(remove_duplicate=False) if name and '.' not in name
        )


def _folds(conv: nn.Module, norm: nn.Module) -> bool:
    return (
        type(conv) in FOLDABLE
        and isinstance(norm, BatchNorm)
        and _only_normalises(norm)
        and norm.running_mean is not None
        # Hooks may change the kernel (spectral norm) or need to see the map in between.
        and not (has_forward_hooks(conv) or has_forward_hooks(norm))
        and not parametrize.is_parametrized(conv)
    )


def _only_normalises(norm: nn.Module) -> bool:
    """Return whether ``forward`` is PyTorch's; one of a subclass may activate, too, as timm's BatchNormAct2d does."""
    owner = next(each for each in type(norm).__mro__ if 'forward' in vars(each))
    return owner.__module__.startswith('torch.nn.')


def _compiled(folded: nn.Module) -> nn.Module:
    parts = []
    if isinstance(folded, BaseModel):  # its own ``forward`` also prepares samples and selects boxes
        parts = [part for name in ('backbone', 'neck') if isinstance(part := getattr(folded, name, None), nn.Module)]
    for part in parts or [folded]:
        part.to(memory_format=torch.channels_last)
        part.register_forward_hook(_in_usual_form)
        part.compile(options={'freezing': True})  # in place, so that it stays a module of its type
    return folded


# ------------------------------------------------------------------------------------------------------- in one pass


def _networks(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the largest OpenMMLab networks in a model all of whose parts accept any memory layout."""
    if isinstance(module, BaseModule) and all(_takes_any_layout(each) for each in module.modules()):
        yield module
    else:
        for child in module.children():
            yield from _networks(child)


def _takes_any_layout(module: nn.Module) -> bool:
    origin = f'{type(module).forward.__module__}.'
    return origin.startswith(ANY_LAYOUT) and not has_forward_hooks(module)


def _compute_in_one_pass(network: nn.Module) -> bool:
    """Replace the convolutions of a network and return whether there were any."""
    made: dict[nn.Module, OnePassUnit | OnePassConv2d] = {}
    for module in list(network.modules()):
        if getattr(type(module), 'inplace', None) is False:  # our own: nothing else uses its input or output
            module.inplace = True
        if isinstance(module, NormAct):
            module.keeps_scale = True
        if type(module).forward is ConvNormAct.forward and hasattr(module.act, 'inplace'):
            module.act.inplace = True
        for name, child in module.named_children():
            if _activates_at_once(child):
                # A convolution for each: a shared one may have another activation elsewhere.
                made[child] = OnePassUnit.of(child)
            elif fits(child) and child not in made:
                made[child] = OnePassConv2d(child)
            if child in made:
                setattr(module, name, made[child])
    return any(isinstance(module, OnePassConv2d) for module in network.modules())


def _activates_at_once(module: nn.Module) -> bool:
    return (
        type(module).forward is ConvNormAct.forward
        and fits(module.conv)
        and type(module.bn) is nn.Identity
        and activation_of(module.act) is not None
    )


def _in_usual_form(module: nn.Module, args: tuple, outputs: Any) -> Any:
    """Forward hook: return the maps in PyTorch's default memory layout, whatever the network computed in."""
    if isinstance(outputs, Tensor):
        return outputs.contiguous()
    if type(outputs) in (tuple, list):
        return type(outputs)(_in_usual_form(module, args, each) for each in outputs)
    if type(outputs) is dict:
        return {key: _in_usual_form(module, args, each) for key, each in outputs.items()}
    return outputs
