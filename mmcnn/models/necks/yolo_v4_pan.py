"""YOLOv4's neck: spatial pyramid pooling and a path aggregation network."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmcnn.models.layers import ConvNormAct, PyramidPool, concatenate, doubled, scale_channels, scale_depth
from mmcnn.registry import MODELS


class ConvBlock(nn.Sequential):
    """A 1x1 to ``channels``, then ``depth`` times 3x3 to twice that and 1x1 back: to (N, channels, H, W)."""

    def __init__(self, in_channels: int, channels: int, depth: int, **conv: object) -> None:
        layers = [ConvNormAct(in_channels, channels, 1, **conv)]
        for _ in range(depth):
            layers.append(ConvNormAct(channels, 2 * channels, 3, **conv))
            layers.append(ConvNormAct(2 * channels, channels, 1, **conv))
        super().__init__(*layers)


class SPPBlock(nn.Sequential):
    """ConvBlock, pools [p13, p9, p5, x], ConvBlock: (N, C_in, H, W) to (N, channels, H, W).

    Layers 105 to 116 of yolov4.cfg.
    """

    def __init__(self, in_channels: int, channels: int, **conv: object) -> None:
        super().__init__(
            ConvBlock(in_channels, channels, 1, **conv),
            PyramidPool(largest_first=True),
            ConvBlock(4 * channels, channels, 1, **conv),
        )


@MODELS.register_module()
class YOLOv4PAN(BaseModule):
    """SPP on the coarsest map, a top-down and a bottom-up path; in concatenations the lateral map comes first.

    Layers 105 to 158 of the public yolov4.cfg without those of the heads: 31,091,456 parameters on CSPDarknet53
    (Bochkovskiy et al., arXiv 2004.10934).

    Args:
        in_channels: number of channels of the three maps of strides s, 2s and 4s, fine to coarse.
        out_channels: number of channels of the three outputs before ``widen_factor``.
        widen_factor: multiplies ``out_channels``.
        deepen_factor: multiplies the depth of the ConvBlocks (2).
        norm_cfg: MMEngine config of the normalisation.
        act_cfg: MMEngine config of the activation.
        init_cfg: MMEngine initialisation.

    Raises:
        ValueError: there are not three maps.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int] = (128, 256, 512),
        widen_factor: float = 1.0,
        deepen_factor: float = 1.0,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(in_channels) != 3 or len(out_channels) != 3:
            raise ValueError(
                f'YOLOv4PAN joins three maps, got in_channels={tuple(in_channels)}, out_channels={tuple(out_channels)}'
            )
        conv = dict(
            norm_cfg={'type': 'BN', 'eps': 1e-5, 'momentum': 0.03, **(norm_cfg or {})},
            act_cfg=act_cfg or dict(type='LeakyReLU', negative_slope=0.1, inplace=True),
        )
        self.in_channels = tuple(in_channels)
        self.out_channels = c3, c4, c5 = tuple(scale_channels(c, widen_factor) for c in out_channels)
        depth = scale_depth(2, deepen_factor)

        self.spp = SPPBlock(in_channels[2], c5, **conv)
        self.reduce5 = ConvNormAct(c5, c4, 1, **conv)
        self.lateral4 = ConvNormAct(in_channels[1], c4, 1, **conv)
        self.top_down4 = ConvBlock(2 * c4, c4, depth, **conv)
        self.reduce4 = ConvNormAct(c4, c3, 1, **conv)
        self.lateral3 = ConvNormAct(in_channels[0], c3, 1, **conv)
        self.top_down3 = ConvBlock(2 * c3, c3, depth, **conv)
        self.down3 = ConvNormAct(c3, c4, 3, stride=2, **conv)
        self.bottom_up4 = ConvBlock(2 * c4, c4, depth, **conv)
        self.down4 = ConvNormAct(c4, c5, 3, stride=2, **conv)
        self.bottom_up5 = ConvBlock(2 * c5, c5, depth, **conv)

    @staticmethod
    def strides_of(strides: Sequence[int]) -> tuple[int, ...] | None:
        """Return the output strides in pixels for the given input strides; None: these maps cannot be joined."""
        fine, middle, coarse = strides
        return (fine, middle, coarse) if middle == 2 * fine and coarse == 4 * fine else None

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Map three maps (N, C_i, H / s_i, W / s_i), fine to coarse, to three of the same sizes with ``out_channels``.

        Raises:
            ValueError: the sizes do not halve exactly; the image's sides have to be multiples of the coarsest stride.
        """
        fine, middle, coarse = maps
        p5 = self.spp(coarse)
        p4 = self.top_down4(concatenate([self.lateral4(middle), doubled(self.reduce5(p5), middle)]))
        n3 = self.top_down3(concatenate([self.lateral3(fine), doubled(self.reduce4(p4), fine)]))
        n4 = self.bottom_up4(concatenate([self.down3(n3), p4]))
        n5 = self.bottom_up5(concatenate([self.down4(n4), p5]))
        return n3, n4, n5
