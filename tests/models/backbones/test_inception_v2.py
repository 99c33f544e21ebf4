import pytest
import torch
from torch.nn import functional as F

import mmcnn

# Module, output channels and side of the map at 224 x 224, from the paper's Figure 5; 3c and 4e open stages 4 and 5.
FIGURE_5 = [
    ('stem', 64, 112), ('stage2.0', 64, 56), ('stage2', 192, 56),
    ('stage3.0', 192, 28), ('stage3.1', 256, 28), ('stage3.2', 320, 28),
    ('stage4.0', 576, 14), ('stage4.1', 576, 14), ('stage4.2', 576, 14), ('stage4.3', 576, 14), ('stage4.4', 576, 14),
    ('stage5.0', 1024, 7), ('stage5.1', 1024, 7), ('stage5.2', 1024, 7),
]  # fmt: skip
#: In the reference implementation 3b equals 3a, so 3c passes on 256 channels instead of 320.
REFERENCE = {'stage3.2': 256, 'stage4.0': 512}


@pytest.mark.parametrize(
    ('name', 'total', 'trainable'),
    [('inceptionv2', 11_152_840, 11_133_064), ('inceptionv2-paper', 11_224_840, 11_204_936)],
)
def test_published_counts(name, total, trainable):
    with torch.device('meta'):
        classifier = mmcnn.build_classifier(name)
    assert mmcnn.count_parameters(classifier) == (total, trainable)


@pytest.mark.parametrize(('name', 'other'), [('inceptionv2', REFERENCE), ('inceptionv2-paper', {})])
def test_maps_are_those_of_the_papers_figure(name, other):
    with torch.device('meta'):
        backbone = mmcnn.build_backbone(name)
    shapes = {}
    for part, *_ in FIGURE_5:
        backbone.get_submodule(part).register_forward_hook(
            lambda module, inputs, x, part=part: shapes.update({part: tuple(x.shape[1:])})
        )
    backbone(torch.empty(1, 3, 224, 224, device='meta'))
    assert shapes == {part: (other.get(part, channels), side, side) for part, channels, side in FIGURE_5}


def test_every_convolution_has_a_bias_and_a_whole_norm():
    with torch.device('meta'):
        backbone = mmcnn.build_backbone('inceptionv2')
    units = [m for m in backbone.modules() if hasattr(m, 'conv') and hasattr(m, 'bn')]
    assert len(units) == 3 + 8 * 7 + 2 * 5
    for unit in units:
        assert unit.conv.bias is not None and unit.bn.weight is not None and unit.bn.bias is not None
        assert unit.bn.eps == 1e-3


@pytest.mark.parametrize(('stage', 'kinds'), [(4, 'avg avg avg avg'), (5, 'avg max')])
def test_a_stage_follows_the_figure_layer_by_layer(stage, kinds):
    """A stage written out as a chain of functions over its tensors, from the 1x1 to the pool branch."""
    backbone = mmcnn.build_backbone('inceptionv2-paper', widen_factor=0.125).eval()
    parts = getattr(backbone, f'stage{stage}')
    with torch.no_grad():
        for name, value in parts.state_dict().items():
            if name.endswith('running_var'):
                value.uniform_(0.1, 0.3)
            elif value.ndim == 1 and not name.endswith('bn.weight'):
                value.normal_(0, 0.1)
    tensors = iter([value for key, value in parts.state_dict().items() if not key.endswith('num_batches_tracked')])

    def conv(x, stride=1):
        weight, bias, gamma, beta, mean, var = (next(tensors) for _ in range(6))
        if stride == 2:  # 'same' padding at an even size adds one pixel on the right and at the bottom
            x = F.conv2d(F.pad(x, (0, 1, 0, 1)), weight, bias, stride=2)
        else:
            x = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
        return F.relu((x - mean[:, None, None]) / (var[:, None, None] + 1e-3).sqrt() * gamma[:, None, None]
                      + beta[:, None, None])  # fmt: skip

    def pool(x, kind):
        if kind == 'max':
            return F.max_pool2d(x, 3, 1, padding=1)
        window = torch.ones(x.shape[1], 1, 3, 3)
        pixels = F.conv2d(torch.ones_like(x[:1]), window, padding=1, groups=x.shape[1])  # 4, 6 or 9 pixels
        return F.conv2d(x, window, padding=1, groups=x.shape[1]) / pixels

    image = torch.randn(2, next(iter(parts.state_dict().values())).shape[1], 12, 16)
    below = F.pad(image, (0, 1, 0, 1), value=float('-inf'))
    x = torch.cat([conv(conv(image), 2), conv(conv(conv(image)), 2), F.max_pool2d(below, 3, 2)], dim=1)
    for kind in kinds.split():
        x = torch.cat([conv(x), conv(conv(x)), conv(conv(conv(x))), conv(pool(x, kind))], dim=1)
    assert next(tensors, None) is None
    assert x.std() > 0.1  # zeros would prove nothing
    with torch.no_grad():
        torch.testing.assert_close(parts(image), x, rtol=1e-4, atol=1e-5)
