import pytest
import torch
from torch.nn import functional as F

import mmcnn

# Trainable parameters of each stage, worked out by hand from the layers of yolov4.cfg.
STAGES = dict(stem=928, stage1=60_224, stage2=193_920, stage3=1_758_976, stage4=7_024_128, stage5=17_579_008)


def test_published_counts():
    with torch.device('meta'):
        backbone = mmcnn.build_backbone('cspdarknet53')
        focus = mmcnn.build_backbone('cspdarknet53-focus')
    assert mmcnn.count_parameters(backbone) == (26_652_512, 26_617_184)
    assert mmcnn.count_parameters(focus) == (26_633_792, 26_599_872)
    for name, trainable in STAGES.items():
        assert mmcnn.count_parameters(getattr(backbone, name))[1] == trainable
    convs = [m for m in backbone.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convs) == 72
    assert all(m.bias is not None for m in focus.modules() if isinstance(m, torch.nn.Conv2d))


# Trainable parameters of layers 0 to 9, from the layer tables of YOLOv5 v6.0 and v4.0 (Focus).
@pytest.mark.parametrize(
    ('name', 'trainable'),
    [
        ('cspdarknet-n', 1_046_368),
        ('cspdarknet-s', 4_171_456),
        ('cspdarknet-m', 12_167_904),
        ('cspdarknet-l', 26_582_912),
        ('cspdarknet-x', 49_275_040),
        ('cspdarknet-focus-s', 4_212_672),
        ('cspdarknet-focus-m', 12_352_992),
        ('cspdarknet-focus-l', 27_075_968),
        ('cspdarknet-focus-x', 50_301_600),
    ],
)
def test_published_counts_of_yolov5(name, trainable):
    with torch.device('meta'):
        backbone = mmcnn.build_backbone(name)
    assert mmcnn.count_parameters(backbone)[1] == trainable


def test_published_counts_of_yolov5s_layer_by_layer():
    with torch.device('meta'):
        backbone = mmcnn.build_backbone('cspdarknet-s')
    stages = [getattr(backbone, f'stage{i}') for i in (1, 2, 3, 4)]
    layers = [backbone.stem, *(layer for stage in stages for layer in stage)]
    expected = [3_520, 18_560, 18_816, 73_984, 115_712, 295_424, 625_152, 1_180_672, 1_182_720, 656_896]
    assert [mmcnn.count_parameters(layer)[1] for layer in layers] == expected


def test_stem_of_v6_is_a_6x6_with_pads_of_2():
    stem = mmcnn.build_backbone('cspdarknet-n', out_indices=(2,)).stem.conv
    even, odd = torch.randn(1, 3, 20, 32), torch.randn(1, 3, 21, 33)
    torch.testing.assert_close(stem(even), F.conv2d(even, stem.weight, stride=2, padding=2))
    torch.testing.assert_close(stem(odd), F.conv2d(F.pad(odd, (2, 3, 2, 3)), stem.weight, stride=2))
    assert stem(odd).shape == (1, 16, 11, 17)


def test_sppf_behind_the_last_c3_and_spp_before_it():
    with torch.device('meta'):
        v6 = mmcnn.build_backbone('cspdarknet-l')
        focus = mmcnn.build_backbone('cspdarknet-focus-l')
    assert [type(layer).__name__ for layer in v6.stage4] == ['ConvNormAct', 'C3', 'SPP']
    assert [type(layer).__name__ for layer in focus.stage4] == ['ConvNormAct', 'SPP', 'C3']
    assert [block.shortcut for block in v6.stage4[1].blocks] == [True] * 3
    assert [block.shortcut for block in focus.stage4[2].blocks] == [False] * 3
    assert all(m.bias is None for m in focus.modules() if isinstance(m, torch.nn.Conv2d))


def test_timm_form_takes_the_weights_of_darknets_and_gives_something_else():
    torch.manual_seed(0)
    darknet = mmcnn.build_backbone('cspdarknet53', widen_factor=0.25, deepen_factor=0.33).eval()
    timm = mmcnn.build_backbone('cspdarknet53-timm', widen_factor=0.25, deepen_factor=0.33).eval()
    timm.load_state_dict(darknet.state_dict(), strict=True)
    image = torch.randn(1, 3, 64, 64)
    assert not torch.allclose(timm(image)[-1], darknet(image)[-1], rtol=0.1)
    assert {m.negative_slope for m in timm.modules() if isinstance(m, torch.nn.LeakyReLU)} == {0.01}


@pytest.mark.parametrize(
    ('fusion', 'trainable'),
    [
        ('both', 26_617_184),
        # The main paths of 64, 64, 128, 256 and 512 channels lose their 1x1: 4,224 + 4,224 + 16,640 + 66,048 + 263,168.
        ('first', 26_617_184 - 354_304),
        # The 1x1 after the concatenation is gone: 8,320 + 16,640 + 66,048 + 263,168 + 1,050,624. In stage 1, whose
        # paths are as wide as the stage, two 1x1 from 64 to 64 have 32 outputs instead: 2 * 2,112.
        ('last', 26_617_184 - 1_404_800 - 4_224),
    ],
)
def test_placements_of_the_transitions(fusion, trainable):
    with torch.device('meta'):
        backbone = mmcnn.build_backbone('cspdarknet53', arch=dict(fusion=fusion), out_indices=(1, 2, 3, 4, 5))
    assert mmcnn.count_parameters(backbone)[1] == trainable
    maps = backbone(torch.empty(1, 3, 64, 64, device='meta'))
    assert [x.shape[1] for x in maps] == [64, 128, 256, 512, 1024]


@pytest.mark.parametrize('fusion', ['both', 'first', 'last'])
def test_short_path_comes_last(fusion):
    torch.manual_seed(0)
    arch = dict(fusion=fusion)
    backbone = mmcnn.build_backbone('cspdarknet53', widen_factor=0.25, out_indices=(1,), arch=arch).eval()
    stage, x = backbone.stage1, torch.randn(1, 8, 9, 12)
    down = stage.down(x)
    main = stage.blocks(stage.main(down))
    if fusion != 'first':
        main = stage.post.act(stage.post.bn(stage.post.conv(main)))
    merged = torch.cat([main, stage.short(down)], dim=1)
    if fusion != 'last':
        merged = stage.final.act(stage.final.bn(stage.final.conv(merged)))
    torch.testing.assert_close(stage(x), merged)
    assert merged.shape == (1, 16, 5, 6)


def test_stage_follows_the_cfg_layer_by_layer():
    """The second stage, written out from the cfg as a chain of functions over the stage's tensors in file order."""
    backbone = mmcnn.build_backbone('cspdarknet53', widen_factor=0.25).eval()
    stage = backbone.stage2
    with torch.no_grad():
        for name, value in stage.state_dict().items():
            if 'running' in name:
                value.uniform_(0.5, 1.5)
    tensors = iter([v for k, v in stage.state_dict().items() if not k.endswith('num_batches_tracked')])

    def conv(x, stride=1):
        weight, gamma, beta, mean, var = (next(tensors) for _ in range(5))
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        x = F.batch_norm(x, mean, var, gamma, beta, eps=1e-5)
        return x * torch.tanh(F.softplus(x))

    image = torch.randn(1, stage.down.conv.in_channels, 24, 40)
    down = conv(image, stride=2)
    short = conv(down)
    main = conv(down)
    for _ in range(2):
        main = main + conv(conv(main))
    main = conv(main)
    expected = conv(torch.cat([main, short], dim=1))
    assert next(tensors, None) is None
    torch.testing.assert_close(stage(image), expected, rtol=1e-5, atol=1e-5)


def test_focus_form_equals_mmdet_with_the_same_weights():
    """MMDetection's CSPDarknet is YOLOv5's Focus form; by default it has 9 blocks in a stage where ours has 6."""
    from mmdet.models.backbones import CSPDarknet as Peer

    depths = [
        [64, 128, 3, True, False],
        [128, 256, 6, True, False],
        [256, 512, 9, True, False],
        [512, 1024, 3, False, True],
    ]
    peer = Peer(arch_ovewrite=depths, widen_factor=0.25, out_indices=(2, 3, 4), norm_cfg=dict(type='BN', eps=1e-3))
    ours = mmcnn.build_backbone('cspdarknet53-focus', widen_factor=0.25, out_indices=(3, 4, 5), arch=dict(bias=False))
    theirs = {k: v for k, v in peer.state_dict().items() if not k.endswith('num_batches_tracked')}
    with torch.no_grad():
        for key, value in theirs.items():
            if 'running' in key:
                value.uniform_(0.5, 1.5)
    renamed = {}
    for key, value in theirs.items():
        key = key.replace('stem.conv.', 'stem.1.', 1)
        renamed[key] = value
    assert set(renamed) == {k for k in ours.state_dict() if not k.endswith('num_batches_tracked')}
    ours.load_state_dict(renamed, strict=False)
    peer.eval(), ours.eval()
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for a, b in zip(ours(image), peer(image), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
