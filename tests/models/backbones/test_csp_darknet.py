import torch
from torch.nn import functional as F

import mmcnn

# Trainable parameters of each stage, worked out from the layer table of yolov4.cfg.
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


def test_stage_follows_the_cfg_layer_by_layer():
    """The second stage, written out from the cfg as a chain of functions over the stage's own tensors in file order."""
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
    """MMDetection's CSPDarknet is YOLOv5's Focus form with 9 blocks where ours has 6; its depth table can say so."""
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
