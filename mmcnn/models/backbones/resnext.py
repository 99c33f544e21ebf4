"""ResNeXt (Xie et al., arXiv 1611.05431)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcnn.compat.private_names import BatchNorm
from mmcnn.models.layers import Bottleneck, ConvNormAct, ResidualStage
from mmcnn.registry import register_backbone

from .base import Stage
from .deformable import Deformable
from .row import Row


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table."""

    stem: int = 64  # output channels of the 7x7 of stride 2
    channels: tuple[int, ...] = (256, 512, 1024, 2048)  # output channels of the stages conv2 to conv5, strides 4 to 32
    depths: tuple[int, ...] = (3, 4, 6, 3)  # number of residual blocks of each stage
    groups: int = 32  # number of paths of a block: the paper's cardinality C
    group_width: int = 4  # channels of a path in the first stage, the paper's d; doubled in each further stage
    norm_each_path: bool = False  # the paper's form (a): every path has its own normalisation before they are summed


# Figure 3(a) of the paper, BatchNorm on each of the 32 paths: 25,965,352 trainable parameters with the classifier.
VARIANTS = {'resnext50': Arch(norm_each_path=True)}

# Figure 3(c): ResNeXt-50 (32x4d) of table 1, 25,028,904 trainable parameters with the classifier; ResNeXt-101 (32x4d
# and 64x4d) of tables 3 and 4; 32x8d of torchvision.
_DEEP = Arch(depths=(3, 4, 23, 3))
VARIANTS |= {
    'resnext50-32x4d': Arch(),
    'resnext101-32x4d': _DEEP,
    'resnext101-32x8d': replace(_DEEP, group_width=8),
    'resnext101-64x4d': replace(_DEEP, groups=64),
}


@register_backbone
class ResNeXt(Deformable):
    """ResNeXt; levels 1 (the stem) to 5. Arguments: see :class:`~mmcnn.models.backbones.deformable.Deformable`.

    ``widen_factor`` keeps the number of paths and scales the width of each.
    """

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the family in order, from the image on."""
        arch = self.arch
        conv = dict(norm_cfg=self.norm_cfg, act_cfg=arch.act)
        last = partial(SummedPaths, paths=arch.groups) if arch.norm_each_path else ConvNormAct
        channels = self.width(arch.stem)
        yield Stage('stem', channels, 2, partial(ConvNormAct, self.in_channels, channels, 7, stride=2, **conv))
        path_widths = [max(round(arch.group_width * 2**i * self.widen_factor), 1) for i in range(len(arch.depths))]
        hidden = [arch.groups * each for each in path_widths]
        dcn = self.deformed(hidden)
        for i, (out, depth) in enumerate(zip(arch.channels, arch.depths, strict=True), start=1):
            out = self.width(out)
            block = partial(Bottleneck, hidden=hidden[i - 1], groups=arch.groups, last=last, dcn=dcn[i - 1], **conv)
            build = partial(ResidualStage, block, channels, out, self.depth(depth), pool=i == 1)
            yield Stage(f'stage{i}', out, 2 ** (i + 1), build)
            channels = out


class SummedPaths(ConvNormAct):
    """A 1x1 convolution from each group of channels to all outputs, each normalised separately, then summed.

    (N, paths * c, H, W) to (N, C_out, H, W). The parameters are those of the explicit form: a grouped convolution to
    paths * C_out channels followed by a BatchNorm over them. That intermediate tensor is large (98 MiB per image in the
    first stage at 224 pixels) and is not materialised: a path is a linear map y = W x of its c inputs, so that mean(y)
    = W mean(x) and var(y) = diag(W cov(x) W^T). With the scales of BatchNorm folded into the kernels, all paths are
    *one* 1x1 convolution from paths * c to C_out channels. Outputs, gradients and running statistics are those of the
    explicit form.

    Training needs a plain BatchNorm2d for this. SyncBatchNorm, whose statistics are those of all processes, and
    normalisations without running statistics use the explicit form, as does everything with ``explicit = True``.
    """

    explicit = False

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, paths: int, **conv: object) -> None:
        super().__init__(in_channels, paths * out_channels, kernel_size, groups=paths, **conv)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, paths * c, H, W) to (N, C_out, H, W)."""
        if self.explicit or not self._is_affine():
            return self.act(self.bn(self.conv(x)).unflatten(1, (self.conv.groups, -1)).sum(1))
        with torch.autocast('cpu' if x.is_meta else x.device.type, enabled=False):  # it would round statistics
            kernel, bias = self._folded(x)
        return self.act(F.conv2d(x, kernel.to(x.dtype), bias.to(x.dtype)))

    def folded(self) -> nn.Module:
        """Return the single convolution and the activation, from the running statistics; see :func:`mmcnn.fuse`."""
        if self.training or not self._is_affine():
            return self
        conv = nn.Conv2d(self.conv.in_channels, self.conv.out_channels // self.conv.groups, 1)
        kernel, bias = self._folded(self.conv.weight[:1])  # only the dtype of this input matters
        conv.weight, conv.bias = nn.Parameter(kernel.to(self.conv.weight)), nn.Parameter(bias.to(self.conv.weight))
        return nn.Sequential(conv, self.act)

    def _is_affine(self) -> bool:
        """Return whether the normalisation is a scale and a shift for each channel that :meth:`_folded` can compute."""
        bn = self.bn  # Identity: there is none, or it has been folded into the convolution
        return type(bn) in (nn.BatchNorm2d, nn.Identity) or (isinstance(bn, BatchNorm) and not bn.training)

    def _folded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return kernel (C_out, paths * c, 1, 1) and bias (C_out,) of the single convolution, in float32 at least."""
        conv, bn = self.conv, self.bn
        kernel = conv.weight.to(torch.promote_types(x.dtype, torch.float32))
        kernel = kernel.view(conv.groups, -1, kernel.shape[1])  # (paths, C_out, c)
        shift = kernel.new_zeros(conv.out_channels) if conv.bias is None else conv.bias.to(kernel.dtype)
        if isinstance(bn, BatchNorm):
            if bn.training or bn.running_mean is None:
                mean, var = self._batch_statistics(x.to(kernel.dtype), kernel)
                mean = mean + shift
                self._update_running_statistics(mean, var, count=x.numel() // x.shape[1])
            else:
                mean, var = bn.running_mean, bn.running_var
            scale = (var + bn.eps).rsqrt()
            if bn.weight is not None:
                scale = scale * bn.weight
            kernel = kernel * scale.view(conv.groups, -1, 1)
            shift = (shift - mean) * scale
            if bn.bias is not None:
                shift = shift + bn.bias
        return kernel.transpose(0, 1).flatten(1)[..., None, None], shift.view(conv.groups, -1).sum(0)

    def _batch_statistics(self, x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and biased variance (paths * C_out,) of the grouped convolution's output, from its input."""
        x = x.flatten(2).unflatten(1, (self.conv.groups, -1))  # (N, paths, c, H * W)
        mean = x.mean((0, 3))
        x = x - mean[..., None]
        covariance = (x @ x.transpose(2, 3)).mean(0) / x.shape[3]  # (paths, c, c)
        var = (kernel @ covariance * kernel).sum(2).clamp_min(0)  # rounding could make it negative
        return (kernel @ mean[..., None]).flatten(), var.flatten()

    @torch.no_grad()
    def _update_running_statistics(self, mean: Tensor, var: Tensor, count: int) -> None:
        """Update the running statistics as BatchNorm does, with the unbiased variance of ``count`` values."""
        bn = self.bn
        if not bn.training or bn.running_mean is None:
            return
        if bn.num_batches_tracked is not None:  # None where the momentum is 0: the batch has been counted
            bn.num_batches_tracked += 1
        momentum = 1 / float(bn.num_batches_tracked) if bn.momentum is None else bn.momentum
        bn.running_mean.lerp_(mean.to(bn.running_mean.dtype), momentum)
        bn.running_var.lerp_((var * (count / (count - 1))).to(bn.running_var.dtype), momentum)
