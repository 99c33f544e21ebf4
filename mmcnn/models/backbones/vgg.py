"""VGG (Simonyan & Zisserman, arXiv 1409.1556): only 3x3 convolutions and 2x2 max-pools."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from mmcnn.image_format import CAFFE, IMAGENET, ImageFormat
from mmcnn.models.layers import PlainStage
from mmcnn.registry import register_backbone

from .base import Backbone, Stage
from .row import Row, Top

#: Section 2.1 of the paper: two fully connected layers of 4096 on the 7 x 7 map.
HIDDEN_TOP = Top(pool=7, hidden=(4096, 4096), dropout=0.5)


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table."""

    channels: tuple[int, ...] = (64, 128, 256, 512, 512)  # output channels of the stages' convolutions, strides 1 to 16
    depths: tuple[int, ...] = (2, 2, 3, 3, 3)  # number of 3x3 convolutions of each stage
    norm: dict | None = None  # the paper uses none
    image: ImageFormat = IMAGENET
    top: Top | None = HIDDEN_TOP


# Table 1 of the paper, columns D and E: 138 and 144 million parameters (Table 2). Image format of Keras's weights.
VARIANTS = {'vgg16': Arch(image=CAFFE), 'vgg19': Arch(depths=(2, 2, 4, 4, 4), image=CAFFE)}

# Columns A and B: 133 million parameters each.
VARIANTS |= {'vgg11': Arch(depths=(1, 1, 2, 2, 2)), 'vgg13': Arch(depths=(2, 2, 2, 2, 2))}

# The same networks with BatchNorm behind every convolution, which keeps its bias (torchvision's form).
VARIANTS |= {
    f'{name}-bn': replace(VARIANTS[name], norm=dict(type='BN', eps=1e-5, momentum=0.1), image=IMAGENET)
    for name in ('vgg11', 'vgg13', 'vgg16', 'vgg19')
}


@register_backbone
class VGG(Backbone):
    """VGG; levels 0 to 5, stage i yields level i. Arguments: see :class:`~mmcnn.models.backbones.base.Backbone`.

    The paper ends its stages with a pool; here the next stage starts with it, and the last pool alone is level 5.
    """

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the family in order, from the image on."""
        conv = dict(norm_cfg=self.norm_cfg, act_cfg=self.arch.act)
        channels, level = self.in_channels, 0
        for out, depth in zip(map(self.width, self.arch.channels), self.arch.depths, strict=True):
            build = partial(PlainStage, channels, out, self.depth(depth), pool=level > 0, **conv)
            yield Stage(f'stage{level}', out, 2**level, build)
            channels, level = out, level + 1
        yield Stage(f'stage{level}', channels, 2**level, partial(PlainStage, channels, channels, 0, pool=True))
