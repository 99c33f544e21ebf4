import pytest
import torch
from torch.nn import functional as F

import mmcnn
from mmcnn.models.necks import YOLOv4PAN


def test_published_count_and_shapes():
    with torch.device('meta'):
        neck = YOLOv4PAN((256, 512, 1024))
        for height, width in ((320, 320), (416, 608)):
            maps = [torch.empty(2, c, height // s, width // s) for c, s in ((256, 8), (512, 16), (1024, 32))]
            shapes = [tuple(x.shape) for x in neck(maps)]
            assert shapes == [(2, c, height // s, width // s) for c, s in ((128, 8), (256, 16), (512, 32))]
    assert mmcnn.count_parameters(neck)[1] == 31_091_456
    spp = sum(p.numel() for p in neck.spp.parameters())
    top_down = (neck.reduce5, neck.lateral4, neck.top_down4, neck.reduce4, neck.lateral3, neck.top_down3)
    bottom_up = (neck.down3, neck.bottom_up4, neck.down4, neck.bottom_up5)
    assert spp == 12_066_816
    assert sum(mmcnn.count_parameters(m)[1] for m in top_down) == 3_775_232
    assert sum(mmcnn.count_parameters(m)[1] for m in bottom_up) == 15_249_408


def test_follows_the_cfg_layer_by_layer():
    """Layers 105 to 158 of yolov4.cfg as plain functions over the neck's tensors, which are in the file's order."""
    neck = YOLOv4PAN((16, 32, 64), widen_factor=0.125).eval()
    with torch.no_grad():
        for name, value in neck.state_dict().items():
            if 'running' in name:
                value.uniform_(0.5, 1.5)
    tensors = iter([v for k, v in neck.state_dict().items() if not k.endswith('num_batches_tracked')])

    def conv(x, stride=1):
        weight, gamma, beta, mean, var = (next(tensors) for _ in range(5))
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        return F.leaky_relu(F.batch_norm(x, mean, var, gamma, beta, eps=1e-5), 0.1)

    def five(x):
        return conv(conv(conv(conv(conv(x)))))

    def up(x):
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    c3, c4, c5 = torch.randn(1, 16, 32, 48), torch.randn(1, 32, 16, 24), torch.randn(1, 64, 8, 12)
    s = conv(conv(conv(c5)))
    p5, p9, p13 = (F.max_pool2d(s, k, stride=1, padding=k // 2) for k in (5, 9, 13))
    p5td = conv(conv(conv(torch.cat([p13, p9, p5, s], 1))))
    up1 = up(conv(p5td))
    p4td = five(torch.cat([conv(c4), up1], 1))
    up2 = up(conv(p4td))
    n3 = five(torch.cat([conv(c3), up2], 1))
    n4 = five(torch.cat([conv(n3, stride=2), p4td], 1))
    n5 = five(torch.cat([conv(n4, stride=2), p5td], 1))
    assert next(tensors, None) is None
    for ours, expected in zip(neck((c3, c4, c5)), (n3, n4, n5), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_sizes_that_do_not_halve():
    neck = YOLOv4PAN((8, 8, 8), widen_factor=0.125)
    maps = [torch.randn(1, 8, n, n) for n in (13, 7, 4)]
    with pytest.raises(ValueError, match=r'\(4, 4\) cannot be upsampled to one of \(7, 7\).*multiples'):
        neck(maps)


def test_three_maps_only():
    with pytest.raises(ValueError, match=r'joins three maps, got in_channels=\(256, 512\)'):
        YOLOv4PAN((256, 512))
