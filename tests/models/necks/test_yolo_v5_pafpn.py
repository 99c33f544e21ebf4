import pytest
import torch
from torch.nn import functional as F

import mmcnn
from mmcnn.models.necks import YOLOv5PAFPN

# Parameters of layers 10, 13, 14, 17, 18, 20, 21 and 23 of YOLOv5 v6, and their sum.
PARTS = ('reduce5', 'top_down4', 'reduce4', 'top_down3', 'down3', 'bottom_up4', 'down4', 'bottom_up5')
PUBLISHED = {
    'n': (0.25, 0.33, None, 710_784),
    's': (0.5, 0.33, (131_584, 361_984, 33_024, 90_880, 147_712, 296_448, 590_336, 1_182_720), 2_834_688),
    'm': (0.75, 0.67, None, 8_679_168),
    'l': (1.0, 1.0, (525_312, 2_757_632, 131_584, 690_688, 590_336, 2_495_488, 2_360_320, 9_971_712), 19_523_072),
    'x': (1.25, 1.33, None, 36_902_400),
}


@pytest.mark.parametrize('size', PUBLISHED)
def test_published_counts_and_shapes(size):
    widen, deepen, parts, total = PUBLISHED[size]
    channels = [int(c * widen) for c in (256, 512, 1024)]
    with torch.device('meta'):
        neck = YOLOv5PAFPN(channels, widen_factor=widen, deepen_factor=deepen)
        maps = [torch.empty(2, c, 416 // s, 608 // s) for c, s in zip(channels, (8, 16, 32), strict=True)]
        assert [x.shape for x in neck(maps)] == [x.shape for x in maps]
    assert mmcnn.count_parameters(neck)[1] == total
    if parts:
        assert tuple(mmcnn.count_parameters(getattr(neck, part))[1] for part in PARTS) == parts


def test_follows_the_graph_layer_by_layer():
    """Layers 10 to 23 of YOLOv5 as plain functions over the neck's tensors."""
    neck = YOLOv5PAFPN((32, 64, 128), widen_factor=0.125, deepen_factor=0.67).eval()  # two bottlenecks per C3
    with torch.no_grad():
        for name, value in neck.state_dict().items():
            if 'running' in name:
                value.uniform_(0.5, 1.5)
    state = {k: v for k, v in neck.state_dict().items() if not k.endswith('num_batches_tracked')}

    def conv(x, name, stride=1):
        keys = ('conv.weight', 'bn.weight', 'bn.bias', 'bn.running_mean', 'bn.running_var')
        weight, gamma, beta, mean, var = (state.pop(f'{name}.{key}') for key in keys)
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        return F.silu(
            (x - mean[:, None, None]) / (var + 1e-3).sqrt()[:, None, None] * gamma[:, None, None] + beta[:, None, None]
        )

    def c3(x, name):
        main, short = conv(x, f'{name}.main_conv'), conv(x, f'{name}.short_conv')
        for i in range(2):
            main = conv(conv(main, f'{name}.blocks.{i}.conv1'), f'{name}.blocks.{i}.conv2')  # without shortcuts
        return conv(torch.cat([main, short], 1), f'{name}.final_conv')

    def up(x):
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    fine, middle, coarse = torch.randn(1, 32, 32, 48), torch.randn(1, 64, 16, 24), torch.randn(1, 128, 8, 12)
    x10 = conv(coarse, 'reduce5')
    x14 = conv(c3(torch.cat([up(x10), middle], 1), 'top_down4'), 'reduce4')
    x17 = c3(torch.cat([up(x14), fine], 1), 'top_down3')
    x20 = c3(torch.cat([conv(x17, 'down3', 2), x14], 1), 'bottom_up4')
    x23 = c3(torch.cat([conv(x20, 'down4', 2), x10], 1), 'bottom_up5')
    assert not state
    for ours, expected in zip(neck((fine, middle, coarse)), (x17, x20, x23), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_wrong_maps_are_named():
    with pytest.raises(ValueError, match=r'joins three maps, got in_channels=\(8, 16\)'):
        YOLOv5PAFPN((8, 16))
    neck = YOLOv5PAFPN((8, 16, 32), widen_factor=0.05)
    maps = [torch.randn(1, c, s, s) for c, s in ((8, 13), (16, 7), (32, 4))]
    with pytest.raises(ValueError, match=r'a map of \(4, 4\) cannot be upsampled to one of \(7, 7\)'):
        neck(maps)
