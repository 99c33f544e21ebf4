"""YOLOv5's neck: a path aggregation network of C3 layers."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor

from mmcnn.models.layers import C3, ConvNormAct, concatenate, doubled, scale_channels, scale_depth
from mmcnn.registry import MODELS


@MODELS.register_module()
class YOLOv5PAFPN(BaseModule):
    """A top-down and a bottom-up path of C3 layers without shortcuts; concatenations start with the other level's map.

    YOLOv5 v4 to v7 (layers 10 to 23 of its model): 19,523,072 parameters at size l. MMDetection's YOLOXPAFPN has three
    more 1x1 convolutions.

    Args:
        in_channels: number of channels of the three maps of strides s, 2s and 4s, fine to coarse.
        out_channels: number of channels of the three outputs before ``widen_factor``.
        depth: number of bottlenecks of each C3 before ``deepen_factor``.
        widen_factor: multiplies ``out_channels``.
        deepen_factor: multiplies ``depth``.
        norm_cfg: MMEngine config of the normalisation.
        act_cfg: MMEngine config of the activation.
        init_cfg: MMEngine initialisation.

    Raises:
        ValueError: there are not three maps.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int] = (256, 512, 1024),
        depth: int = 3,
        widen_factor: float = 1.0,
        deepen_factor: float = 1.0,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(in_channels) != 3 or len(out_channels) != 3:
            raise ValueError(
                f'YOLOv5PAFPN joins three maps, got in_channels={tuple(in_channels)}, '
                f'out_channels={tuple(out_channels)}'
            )
        conv = dict(
            norm_cfg={'type': 'BN', 'eps': 1e-3, 'momentum': 0.03, **(norm_cfg or {})},
            act_cfg=act_cfg or dict(type='SiLU', inplace=True),
        )
        self.in_channels = tuple(in_channels)
        self.out_channels = c3, c4, c5 = tuple(scale_channels(c, widen_factor) for c in out_channels)
        layer = dict(depth=scale_depth(depth, deepen_factor), shortcut=False, **conv)

        self.reduce5 = ConvNormAct(in_channels[2], c4, 1, **conv)
        self.top_down4 = C3(c4 + in_channels[1], c4, **layer)
        self.reduce4 = ConvNormAct(c4, c3, 1, **conv)
        self.top_down3 = C3(c3 + in_channels[0], c3, **layer)
        self.down3 = ConvNormAct(c3, c3, 3, stride=2, **conv)
        self.bottom_up4 = C3(2 * c3, c4, **layer)
        self.down4 = ConvNormAct(c4, c4, 3, stride=2, **conv)
        self.bottom_up5 = C3(2 * c4, c5, **layer)

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
        r5 = self.reduce5(coarse)
        r4 = self.reduce4(self.top_down4(concatenate([doubled(r5, middle), middle])))
        n3 = self.top_down3(concatenate([doubled(r4, fine), fine]))
        n4 = self.bottom_up4(concatenate([self.down3(n3), r4]))
        n5 = self.bottom_up5(concatenate([self.down4(n4), r5]))
        return n3, n4, n5
