"""Deformable convolution as ONNX's operator DeformConv, with the method of :mod:`mmcnn.deployment.operators`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from mmcv.ops import DeformConv2dPack, ModulatedDeformConv2dPack
from torch import Tensor, nn

from mmcnn import ops

#: The first version of ONNX's operators that has DeformConv.
OPSET = 19
PACKS = (DeformConv2dPack, ModulatedDeformConv2dPack)


@torch.library.custom_op('mmcnn::onnx_deform_conv', mutates_args=())
def deform_conv(
    x: Tensor,
    weight: Tensor,
    offset: Tensor,
    bias: Tensor,
    mask: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    deform_groups: int,
) -> Tensor:
    """Deformable convolution as ONNX's DeformConv; shapes as in :func:`mmcnn.ops.deform_conv_forward`."""
    conv = ops.DeformConv(tuple(stride), tuple(padding), tuple(dilation), groups, deform_groups)
    return ops.deform_conv_forward(x, offset, weight, mask, bias, conv)


@deform_conv.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    offset: Tensor,
    bias: Tensor,
    mask: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    deform_groups: int,
) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0], *offset.shape[2:])


def translations() -> dict[Callable, Callable]:
    """Return the entries of ``custom_translation_table`` of ``torch.onnx.export``, for opset 19 or later."""
    from onnxscript import opset19 as op

    def translate(x, weight, offset, bias, mask, stride, padding, dilation, groups, deform_groups):
        return op.DeformConv(
            x,
            weight,
            offset,
            bias,
            mask,
            strides=stride,
            pads=[*padding, *padding],
            dilations=dilation,
            group=groups,
            offset_group=deform_groups,
        )

    return {torch.ops.mmcnn.onnx_deform_conv.default: translate}


class ExportableDeformConv(nn.Module):
    """A layer of mmcv that computes its own offsets, with the operator above: to (N, C_out, H_out, W_out)."""

    def __init__(self, pack: nn.Module) -> None:
        super().__init__()
        self.conv_offset, self.weight = pack.conv_offset, pack.weight
        bias = getattr(pack, 'bias', None)
        self.bias = nn.Parameter(pack.weight.new_zeros(len(pack.weight)), False) if bias is None else bias
        self.modulated = isinstance(pack, ModulatedDeformConv2dPack)
        self.numbers = (pack.stride, pack.padding, pack.dilation, pack.groups, pack.deform_groups)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H', W')."""
        offset = self.conv_offset(x)
        if self.modulated:
            # In mmcv's order, the first two thirds are the offsets.
            count = offset.shape[1] // 3
            offset, mask = offset[:, : 2 * count], offset[:, 2 * count :].sigmoid()
        else:
            mask = torch.ones_like(offset[:, : offset.shape[1] // 2])
        return deform_conv(x, self.weight, offset, self.bias, mask, *self.numbers)


def has_deform_conv(network: nn.Module) -> bool:
    """Return whether a network has deformable convolutions, original or exportable ones."""
    return any(isinstance(module, (*PACKS, ExportableDeformConv)) for module in network.modules())


def with_exportable_deform_conv(network: nn.Module) -> None:
    """Replace the deformable convolutions of a network by exportable ones, in place."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, PACKS):
                setattr(module, name, ExportableDeformConv(child))
