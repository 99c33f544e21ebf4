"""ResNet (He et al., arXiv 1512.03385)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from mmcnn.image_format import CAFFE, IMAGENET, ImageFormat
from mmcnn.models.layers import BasicBlock, Bottleneck, ConvNormAct, ResidualStage
from mmcnn.registry import register_backbone

from .base import Stage
from .deformable import Deformable
from .row import Row


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table."""

    stem: int = 64  # output channels of the 7x7 of stride 2
    channels: tuple[int, ...] = (256, 512, 1024, 2048)  # output channels of conv2_x to conv5_x, strides 4 to 32
    depths: tuple[int, ...] = (3, 4, 6, 3)  # number of residual blocks of each stage
    bottleneck: bool = True  # blocks of 1x1, 3x3, 1x1 with a quarter of the width inside; otherwise of two 3x3
    stride_on_3x3: bool = False  # position of a bottleneck's stride; in the paper it is on the first 1x1
    bias: bool = True  # whether the convolutions have a bias in addition to BatchNorm
    norm: dict = field(default_factory=lambda: dict(type='BN', eps=1.001e-5, momentum=0.01))
    image: ImageFormat = CAFFE


# Table 1 of the paper, in the form of Keras (the stride is on the first 1x1, as in the authors' release).
VARIANTS = {
    'resnet50': Arch(),
    'resnet101': Arch(depths=(3, 4, 23, 3)),
    'resnet152': Arch(depths=(3, 8, 36, 3)),
}

# Table 1 in the form of torchvision.
_TORCHVISION = dict(stride_on_3x3=True, bias=False, norm=dict(type='BN', eps=1e-5, momentum=0.1), image=IMAGENET)
_BASIC = Arch(**_TORCHVISION, bottleneck=False, channels=(64, 128, 256, 512))
VARIANTS |= {f'{name}-tv': replace(row, **_TORCHVISION) for name, row in VARIANTS.items()}
VARIANTS |= {'resnet18': replace(_BASIC, depths=(2, 2, 2, 2)), 'resnet34': _BASIC}


@register_backbone
class ResNet(Deformable):
    """ResNet; levels 1 (the stem) to 5. Arguments: see :class:`~mmcnn.models.backbones.deformable.Deformable`.

    ``resnet50``, ``resnet101`` and ``resnet152`` are Keras's networks, with ``-tv`` they are torchvision's;
    ``resnet18`` and ``resnet34`` exist in torchvision's form only.
    """

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the family in order, from the image on."""
        arch = self.arch
        conv = dict(norm_cfg=self.norm_cfg, act_cfg=arch.act, bias=arch.bias or None)
        channels = self.width(arch.stem)
        yield Stage('stem', channels, 2, partial(ConvNormAct, self.in_channels, channels, 7, stride=2, **conv))
        hidden = [self.width(wide // 4) for wide in arch.channels]
        dcn = self.deformed(hidden, arch.bias, arch.bottleneck)
        for i, (wide, depth) in enumerate(zip(arch.channels, arch.depths, strict=True), start=1):
            out = self.width(wide)
            block = partial(BasicBlock, **conv)
            if arch.bottleneck:
                form = dict(hidden=hidden[i - 1], stride_on_3x3=arch.stride_on_3x3, dcn=dcn[i - 1])
                block = partial(Bottleneck, **form, **conv)
            build = partial(ResidualStage, block, channels, out, self.depth(depth), pool=i == 1)
            yield Stage(f'stage{i}', out, 2 ** (i + 1), build)
            channels = out
