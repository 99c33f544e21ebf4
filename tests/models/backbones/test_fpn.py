import pytest
import torch
from torch.nn import functional as F

import mmcnn

# Parameters of the stages (3x3 with bias) and of the laterals (1x1 to 256, with bias), worked out by hand.
TRUNK = [19_392, 92_352, 664_192, 2_655_488, 10_619_392]
LATERALS = [8_448, 16_640, 33_024, 65_792, 131_328]


def build_on_meta(**kwargs):
    with torch.device('meta'):
        return mmcnn.build_backbone('fpn', **kwargs)


def test_counts():
    backbone = build_on_meta()
    assert mmcnn.count_parameters(backbone) == (14_306_048, 14_306_048)
    for i, (trunk, lateral) in enumerate(zip(TRUNK, LATERALS, strict=True)):
        assert mmcnn.count_parameters(getattr(backbone, f'stage{i}'))[0] == trunk
        assert mmcnn.count_parameters(getattr(backbone, f'lateral{i}'))[0] == lateral


def test_maps():
    backbone = build_on_meta()
    assert backbone.out_channels == (256,) * 5 and backbone.out_strides == (1, 2, 4, 8, 16)
    maps = backbone(torch.empty(1, 3, 208, 208, device='meta'))
    assert [tuple(x.shape[1:]) for x in maps] == [(256, s, s) for s in (208, 104, 52, 26, 13)]


@pytest.mark.parametrize('out_indices', [(0, 1, 2, 3, 4), (2, 3), (1, 4)])
def test_values(out_indices):
    """The network written out from its tensors; nearest upsampling doubles every pixel and crops the excess."""
    backbone = mmcnn.build_backbone('fpn', widen_factor=0.25, out_indices=out_indices)
    state, depths = backbone.state_dict(), (3, 3, 5, 5, 5)
    image = torch.randn(1, 3, 37, 50)
    trunk, x = [], image
    for level in range(out_indices[-1] + 1):
        if level:
            right, below = x.shape[3] % 2, x.shape[2] % 2
            x = F.max_pool2d(F.pad(x, (0, right, 0, below), value=float('-inf')), 2)
        weights = [v for k, v in state.items() if k.startswith(f'stage{level}.')]
        assert len(weights) == 2 * depths[level]
        for weight, bias in zip(weights[::2], weights[1::2], strict=True):
            x = F.relu(F.conv2d(x, weight, bias, padding=1))
        trunk.append(x)
    expected = {}
    for level in range(out_indices[-1], out_indices[0] - 1, -1):
        x = F.conv2d(trunk[level], state[f'lateral{level}.weight'], state[f'lateral{level}.bias'])
        if level < out_indices[-1]:
            above = expected[level + 1]
            x = x + above.repeat_interleave(2, 2).repeat_interleave(2, 3)[..., : x.shape[2], : x.shape[3]]
        expected[level] = x
    maps = backbone(image)
    for level, x in zip(out_indices, maps, strict=True):
        torch.testing.assert_close(x, expected[level])


def test_only_laterals_that_are_read_are_built():
    laterals = {name for name, _ in build_on_meta(out_indices=(1, 3)).named_children() if name.startswith('lateral')}
    assert laterals == {'lateral1', 'lateral2', 'lateral3'}


def test_weights_of_laterals_that_are_not_built_are_left_out(tmp_path):
    whole = mmcnn.build_backbone('fpn', widen_factor=0.0625)
    torch.save(whole.state_dict(), tmp_path / 'fpn.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'fpn.pth'))
    part = mmcnn.build_backbone('fpn', widen_factor=0.0625, out_indices=(2, 3), init_cfg=init_cfg)
    assert all(torch.equal(v, whole.state_dict()[k]) for k, v in part.state_dict().items())


def test_freezing_leaves_the_laterals():
    backbone = build_on_meta(frozen_stages=4)
    assert mmcnn.count_parameters(backbone) == (sum(TRUNK) + sum(LATERALS), sum(LATERALS))


def test_yolo_levels_and_classifiers_are_refused():
    with pytest.raises(ValueError, match=r'FPNTrunk \(fpn\) has no level 5; its levels are \[0, 1, 2, 3, 4\]'):
        build_on_meta(out_indices=(3, 4, 5))
    assert 'fpn' not in mmcnn.list_classifiers()
