import torch

import mmcnn

# Trainable parameters of each stage, worked out by hand from Darknet-53's layer table (conv weights + 2 per channel).
STAGES = dict(stem=928, stage1=39_232, stage2=238_592, stage3=2_923_008, stage4=11_678_720, stage5=25_704_448)


def test_published_counts():
    with torch.device('meta'):
        backbone = mmcnn.build_backbone('darknet53')
        classifier = mmcnn.build_classifier('darknet53')
    assert mmcnn.count_parameters(backbone) == (40_620_640, 40_584_928)
    assert mmcnn.count_parameters(classifier)[1] == 41_609_928
    for name, trainable in STAGES.items():
        assert mmcnn.count_parameters(getattr(backbone, name))[1] == trainable


def test_equals_mmdet_with_the_same_weights():
    """MMDetection's Darknet is an independent implementation that creates its tensors in the same order."""
    from mmdet.models.backbones import Darknet as Peer

    peer, ours = Peer(depth=53, norm_eval=False), mmcnn.build_backbone('darknet53', out_indices=(3, 4, 5))
    with torch.no_grad():
        for name, buffer in peer.named_buffers():
            if 'running' in name:
                buffer.uniform_(0.5, 1.5)
    values = [v for k, v in peer.state_dict().items() if not k.endswith('num_batches_tracked')]
    keys = [k for k in ours.state_dict() if not k.endswith('num_batches_tracked')]
    ours.load_state_dict(dict(zip(keys, values, strict=True)), strict=False)
    peer.eval(), ours.eval()
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for a, b in zip(ours(image), peer(image), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_slopes_of_darknet_and_of_timm():
    for name, slope in (('darknet53', 0.1), ('darknet53-timm', 0.01)):
        with torch.device('meta'):
            modules = list(mmcnn.build_backbone(name).modules())
        assert {m.negative_slope for m in modules if isinstance(m, torch.nn.LeakyReLU)} == {slope}
