import pytest
import torch

import mmcnn
from mmcnn.weights.sources.torchvision import SOURCE

# Total and trainable parameters with 1000 classes: keras.applications, and torchvision (which counts trainable ones).
CLASSIFIERS = {
    'resnet50': (25_636_712, 25_583_592),
    'resnet101': (44_707_176, 44_601_832),
    'resnet152': (60_419_944, 60_268_520),
    'resnet18': (11_699_112, 11_689_512),
    'resnet34': (21_814_696, 21_797_672),
    'resnet50-tv': (25_610_152, 25_557_032),
    'resnet101-tv': (44_654_504, 44_549_160),
    'resnet152-tv': (60_344_232, 60_192_808),
}


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_published_counts(name):
    with torch.device('meta'):
        assert mmcnn.count_parameters(mmcnn.build_classifier(name)) == CLASSIFIERS[name]


def test_published_counts_without_top():
    with torch.device('meta'):
        assert mmcnn.count_parameters(mmcnn.build_backbone('resnet50')) == (23_587_712, 23_534_592)


@pytest.mark.parametrize(
    ('name', 'channels', 'blocks'),
    [
        ('resnet18', (64, 64, 128, 256, 512), (2, 2, 2, 2)),
        ('resnet34', (64, 64, 128, 256, 512), (3, 4, 6, 3)),
        ('resnet50', (64, 256, 512, 1024, 2048), (3, 4, 6, 3)),
        ('resnet101-tv', (64, 256, 512, 1024, 2048), (3, 4, 23, 3)),
        ('resnet152', (64, 256, 512, 1024, 2048), (3, 8, 36, 3)),
    ],
)
def test_table_1_of_the_paper(name, channels, blocks):
    with torch.device('meta'):
        backbone = mmcnn.build_backbone(name, out_indices=(1, 2, 3, 4, 5))
    maps = backbone(torch.empty(1, 3, 224, 224, device='meta'))
    assert [tuple(x.shape[1:]) for x in maps] == list(zip(channels, *[(112, 56, 28, 14, 7)] * 2, strict=True))
    stages = [getattr(backbone, f'stage{i}') for i in range(1, 5)]
    assert tuple(len(stage.blocks) for stage in stages) == blocks


def test_multiply_adds_of_resnet34():
    """Table 1 of the paper: 3.6 G for ResNet-34."""
    count = 0

    def add(module, inputs, output):
        nonlocal count
        count += output[0].numel() // module.out_channels * module.weight.numel()

    with torch.device('meta'):
        backbone = mmcnn.build_backbone('resnet34')
    for module in backbone.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(add)
    backbone(torch.empty(1, 3, 224, 224, device='meta'))
    assert 3.6e9 < count < 3.7e9


def test_two_forms_of_the_bottleneck():
    for name, strides, bias, eps in (('resnet50', (2, 1), True, 1.001e-5), ('resnet50-tv', (1, 2), False, 1e-5)):
        with torch.device('meta'):
            backbone = mmcnn.build_backbone(name)
        first = backbone.stage2.blocks[0]
        assert (first.conv1.conv.stride[0], first.conv2.conv.stride[0]) == strides
        assert first.shortcut.conv.stride == (2, 2)
        assert {m.bias is not None for m in backbone.modules() if isinstance(m, torch.nn.Conv2d)} == {bias}
        assert {m.eps for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {eps}


@pytest.mark.parametrize(
    ('name', 'depth', 'style'), [('resnet50', 50, 'caffe'), ('resnet50-tv', 50, 'pytorch'), ('resnet18', 18, 'pytorch')]
)
def test_equals_mmdet_with_the_same_weights(name, depth, style):
    """MMDetection's ResNet is an independent implementation with torchvision's names."""
    from mmdet.models.backbones import ResNet as Peer

    peer = Peer(depth=depth, base_channels=16, stem_channels=16, style=style, norm_eval=False)
    arch = dict(bias=False, norm=dict(type='BN', eps=1e-5))
    ours = mmcnn.build_backbone(name, widen_factor=0.25, arch=arch)
    with torch.no_grad():
        for key, value in peer.state_dict().items():
            if 'running' in key:
                value.uniform_(0.5, 1.5)
    renamed = SOURCE.translate(peer.state_dict(), name).state
    ours.load_state_dict({key.removeprefix('backbone.'): value for key, value in renamed.items()}, strict=True)
    peer.eval(), ours.eval()
    image = torch.randn(1, 3, 65, 96)
    with torch.no_grad():
        for a, b in zip(ours(image), peer(image), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
