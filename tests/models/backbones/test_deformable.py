"""Deformable convolutions in ResNet, ResNetV2 and ResNeXt."""

import pytest
import torch
from mmcv.ops import DeformConv2dPack, ModulatedDeformConv2dPack

import mmcnn
from mmcnn.errors import UsageError
from mmcnn.models.costs import measure
from mmcnn.weights.sources.mmdet import SOURCE

KINDS = {'DCN': DeformConv2dPack, 'DCNv2': ModulatedDeformConv2dPack}
V2 = dict(type='DCNv2')


def on_meta(name, **kwargs):
    with torch.device('meta'):
        return mmcnn.build_backbone(name, **kwargs)


def randomized(module, seed=0):
    """Makes the offsets non-zero and the statistics of each channel different."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, value in module.state_dict().items():
            if 'conv_offset' in key:
                value.normal_(0, 0.3, generator=generator)
            elif 'running' in key:
                value.uniform_(0.5, 1.5, generator=generator)
    return module


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name', ['resnet50-tv', 'resnext50-32x4d'])
def test_equals_mmdet_with_the_same_weights(name, kind):
    from mmdet.models.backbones import ResNet, ResNeXt

    stages, dcn = (False, True, False, True), dict(type=kind, deform_groups=2, fallback_on_stride=False)
    settings = dict(depth=50, norm_eval=False, style='pytorch', dcn=dict(dcn), stage_with_dcn=stages)
    if name == 'resnet50-tv':
        peer = ResNet(base_channels=16, stem_channels=16, **settings)
        ours = mmcnn.build_backbone(name, widen_factor=0.25, dcn=dcn, stage_with_dcn=stages)
    else:
        peer = ResNeXt(base_channels=16, stem_channels=16, groups=32, base_width=1, **settings)
        ours = mmcnn.build_backbone(name, widen_factor=0.25, dcn=dcn, stage_with_dcn=stages)
    randomized(peer)
    translation = SOURCE.translate(peer.state_dict(), name)
    assert not translation.left_out
    renamed = {key.removeprefix('backbone.'): value for key, value in translation.state.items()}
    ours.load_state_dict(renamed, strict=True)
    image = torch.randn(2, 3, 65, 64, generator=torch.Generator().manual_seed(0))
    for mode in (False, True):
        ours.train(mode)
        peer.train(mode)
        got, expected = ours(image), peer(image)
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    sum(each.square().mean() for each in got).backward()
    sum(each.square().mean() for each in expected).backward()
    grads = {key: p.grad for key, p in peer.named_parameters()}
    of_ours = {f'backbone.{key}': p.grad for key, p in ours.named_parameters()}
    for key, grad in SOURCE.translate(grads, name).state.items():
        torch.testing.assert_close(of_ours[key], grad, rtol=1e-4, atol=1e-5 * float(grad.abs().max() + 1e-3))


def test_one_argument_deforms_c3_to_c5():
    for name in ('resnet50', 'resnet50-tv', 'resnet50v2', 'resnext50', 'resnet-fpn'):
        backbone = on_meta(name, dcn=V2)
        deformed = {key for key, m in backbone.named_modules() if isinstance(m, ModulatedDeformConv2dPack)}
        assert {key.split('.')[0] for key in deformed} == {'stage2', 'stage3', 'stage4'}
        # Every block; in ResNetV2 also the one that Keras assigns to the stage before.
        assert len(deformed) == 4 + 6 + 3 + (name == 'resnet50v2')
        assert all(key.endswith('.conv2.conv') for key in deformed)
    assert 'stage2.blocks.0.conv2.conv.conv_offset.weight' in backbone.state_dict()


@pytest.mark.parametrize(('kind', 'maps'), [('DCN', 2), ('DCNv2', 3)])
def test_counts(kind, maps):
    plain, deformed = on_meta('resnet50-tv'), on_meta('resnet50-tv', dcn=dict(type=kind))
    image = torch.empty(1, 3, 224, 224, device='meta')
    # Every 3x3 gets another 3x3 that computes 2 or 3 numbers for each of its 9 taps: (channels, output side, blocks).
    per_block = [(128, 28, 4), (256, 14, 6), (512, 7, 3)]
    parameters = sum(blocks * 9 * maps * (9 * channels + 1) for channels, _, blocks in per_block)
    multiply_adds = sum(blocks * 9 * maps * 9 * channels * side * side for channels, side, blocks in per_block)
    assert mmcnn.count_parameters(deformed)[1] - mmcnn.count_parameters(plain)[1] == parameters
    assert (measure(deformed, image)[0] - measure(plain, image)[0]).multiply_adds == multiply_adds


@pytest.mark.parametrize('name', ['resnet50-tv', 'resnet50v2', 'resnext50', 'resnet-fpn-tv'])
def test_weights_of_the_plain_network(name, tmp_path):
    small = dict(widen_factor=0.25, deepen_factor=0.33)
    plain = randomized(mmcnn.build_backbone(name, **small)).eval()
    torch.save(plain.state_dict(), tmp_path / 'plain.pth')
    deformed = mmcnn.build_backbone(name, dcn=dict(type='DCN'), **small).eval()
    report = str(mmcnn.load_weights(deformed, tmp_path / 'plain.pth'))
    assert 'offsets, which start at 0' in report
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():  # with offsets of 0, DCN is a plain convolution
        torch.testing.assert_close(deformed(image), plain(image), rtol=1e-4, atol=1e-5)
    randomized(deformed)
    torch.save(deformed.state_dict(), tmp_path / 'deformed.pth')
    again = mmcnn.build_backbone(name, dcn=dict(type='DCN'), **small).eval()
    assert 'start at 0' not in str(mmcnn.load_weights(again, tmp_path / 'deformed.pth'))
    with torch.no_grad():
        torch.testing.assert_close(again(image), deformed(image), rtol=0, atol=0)


def test_initialisation_leaves_the_offsets_at_0():
    backbone = mmcnn.build_backbone(
        'resnet50-tv', widen_factor=0.125, dcn=V2, init_cfg=dict(type='Kaiming', layer='Conv2d')
    )
    backbone.init_weights()
    offsets = [p for key, p in backbone.named_parameters() if 'conv_offset' in key]
    assert len(offsets) == 2 * 13 and not any(p.any() for p in offsets)
    assert backbone.stem.conv.weight.any()


def test_fused_network_computes_the_same():
    backbone = randomized(mmcnn.build_backbone('resnet50-tv', widen_factor=0.125, dcn=V2)).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(mmcnn.fuse(backbone)(image), backbone(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ('name', 'arguments', 'message'),
    [
        ('vovnet39', dict(dcn=V2), 'VoVNet has no bottlenecks for dcn; use ResNet, ResNetV2 or ResNeXt'),
        ('vgg16', dict(stage_with_dcn=(True,)), 'VGG has no bottlenecks for stage_with_dcn'),
        (
            'resnet18',
            dict(dcn=V2),
            "resnet18's blocks have two 3x3; as in MMDetection, use it with resnet50 or deeper",
        ),
        ('resnet50', dict(dcn=dict(type='DCN')), 'have biases, which DCN lacks; use DCNv2, or resnet50-tv'),
        ('resnet50', dict(dcn=dict(type='DCNv3')), r"dcn=\{'type': 'DCNv3'\} of resnet50 must be dict\(type='DCNv2'"),
        ('resnet50', dict(dcn='DCNv2'), r"dcn='DCNv2' of resnet50 must be dict\(type='DCNv2'\)"),
        (
            'resnet50',
            dict(dcn=dict(V2, deformable_groups=1)),
            "dcn of resnet50 has no field 'deformable_groups'.*deform_gro",
        ),
        (
            'resnet50',
            dict(dcn=dict(V2, deform_groups=3)),
            'deform_groups=3 of resnet50 must divide 128, the channels of a 3x3',
        ),
        ('resnet50', dict(dcn=dict(V2, deform_groups=0)), 'deform_groups=0 of resnet50 must be a positive integer'),
        ('resnet50', dict(dcn=dict(V2, fallback_on_stride=True)), 'fallback_on_stride=True makes plain convolutions'),
        ('resnet50', dict(dcn=V2, stage_with_dcn=(True, True)), 'stage_with_dcn=.*must be 4 of True or False'),
        ('resnet50', dict(stage_with_dcn=(False, True, True, True)), r"needs dcn=dict\(type='DCNv2'\) as well"),
    ],
)
def test_errors(name, arguments, message):
    with pytest.raises(UsageError, match=message) as error:
        on_meta(name, **arguments)
    assert '\n' not in str(error.value)
