import pytest
import torch
from torch import nn

import mmcnn


def on_meta(build, name, **kwargs):
    with torch.device('meta'):
        return build(name, **kwargs)


# Counted on timm's models: trainable parameters, and running means and variances.
@pytest.mark.parametrize(
    ('name', 'parameters', 'statistics'), [('cspresnet50', 21_616_168, 40_320), ('cspresnext50', 20_569_896, 57_472)]
)
def test_published_counts(name, parameters, statistics):
    counts = mmcnn.count_parameters(on_meta(mmcnn.build_classifier, name))
    assert counts == (parameters + statistics, parameters)


@pytest.mark.parametrize(
    ('name', 'channels'), [('cspresnet50', (64, 128, 256, 512, 1024)), ('cspresnext50', (64, 256, 512, 1024, 2048))]
)
@pytest.mark.parametrize('fusion', ['both', 'first', 'last'])
def test_maps(name, channels, fusion):
    """Every placement of the transitions gives the same channels."""
    backbone = on_meta(mmcnn.build_backbone, name, out_indices=(1, 2, 3, 4, 5), arch=dict(fusion=fusion))
    maps = backbone(torch.empty(1, 3, 256, 200, device='meta'))
    sizes = [(128, 100), (64, 50), (32, 25), (16, 13), (8, 7)]
    assert [tuple(x.shape[1:]) for x in maps] == [(c, *size) for c, size in zip(channels, sizes, strict=True)]


def test_counts_of_the_other_placements():
    """Counts worked out by hand from that of 'both'.

    'first' has no transition on the main path: 128, 256, 512 and 1024 channels squared, and their norms.
    'last' has none after the concatenation; its short path has half the channels, so the expansion and the main
    transition shrink too.
    """
    without_main = sum(c * c + 2 * c for c in (128, 256, 512, 1024))
    without_fused = sum(2 * c * c + 2 * c for c in (128, 256, 512, 1024))
    thinner = sum(
        (before * c // 2 + c) + (c * c // 2 + c) for before, c in ((64, 128), (128, 256), (256, 512), (512, 1024))
    )
    assert (without_main, without_fused, thinner) == (1_396_480, 2_789_120, 1_048_320)
    expected = dict(both=21_616_168, first=21_616_168 - 1_396_480, last=21_616_168 - 2_789_120 - 1_048_320)
    for fusion, parameters in expected.items():
        classifier = on_meta(mmcnn.build_classifier, 'cspresnet50', arch=dict(fusion=fusion))
        assert mmcnn.count_parameters(classifier)[1] == parameters


@pytest.mark.parametrize('fusion', ['both', 'first', 'last'])
def test_half_of_the_map_goes_round_the_blocks(fusion):
    """Figure 3 of the paper: without a last transition the short path's part of the expansion is output unchanged."""
    torch.manual_seed(0)
    backbone = mmcnn.build_backbone('cspresnet50', widen_factor=0.25, out_indices=(3,), arch=dict(fusion=fusion)).eval()
    stage = backbone.stage2
    x = torch.randn(1, 32, 10, 14)
    expanded = stage.expand(stage.down(x))
    assert (expanded < 0).any() and isinstance(stage.expand.act, nn.Identity)
    short = dict(both=64, first=64, last=32)[fusion]
    main = stage.blocks(expanded[:, short:])
    if fusion != 'first':
        main = stage.post.act(stage.post.bn(stage.post.conv(main)))
    merged = torch.cat([expanded[:, :short], main], dim=1)
    if fusion != 'last':
        merged = stage.final.act(stage.final.bn(stage.final.conv(merged)))
    torch.testing.assert_close(stage(x), merged)


def test_unknown_placement_is_refused():
    with pytest.raises(ValueError, match="fusion='middle' must be 'both', 'first' or 'last'"):
        on_meta(mmcnn.build_backbone, 'cspresnet50', arch=dict(fusion='middle'))


def test_groups_and_slope():
    backbone = on_meta(mmcnn.build_backbone, 'cspresnext50')
    groups = [m.groups for m in backbone.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert groups == [32] * (3 + 3 + 5 + 2 + 3)  # the bottlenecks, and three downsamplings
    assert {m.negative_slope for m in backbone.modules() if isinstance(m, nn.LeakyReLU)} == {0.01}
    narrow = on_meta(mmcnn.build_backbone, 'cspresnext50', widen_factor=0.0625)
    assert narrow(torch.empty(1, 3, 64, 64, device='meta'))[-1].shape == (1, 128, 2, 2)
