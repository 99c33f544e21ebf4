import pytest
import torch
from torch import nn
from torch.nn import functional as F

import mmcnn

# Figure 3 of the paper on DenseNet-121 (6, 12, 24, 16 layers of growth 32), layer by layer, worked out by hand; half a
# transition's channels are rounded up to a multiple of 8. For each stage: the 1x1 that opens it (channels in, out;
# None: only a pool), the channels that go through the dense block, those of its output, those of the transition's
# output (None: it has no transition), and those of the concatenation with the other half.
TABLES = {
    'both': [
        (None, 32, 224, 112, 144),
        ((144, 72), 36, 420, 216, 252),
        ((252, 128), 64, 832, 416, 480),
        ((480, 240), 120, 632, 320, 440),
    ],
    'first': [
        (None, 32, 224, None, 256),
        ((256, 128), 64, 448, None, 512),
        ((512, 256), 128, 896, None, 1024),
        ((1024, 512), 256, 768, None, 1024),
    ],
    'last': [
        (None, 32, 224, 112, 144),
        (None, 72, 456, 232, 304),
        (None, 152, 920, 464, 616),
        (None, 308, 820, 416, 724),
    ],
}
DEPTHS = (6, 12, 24, 16)
# Trainable parameters without the classifier: sums over the tables (convolution weights, 2 per normalised channel).
COUNTS = {'both': 5_506_048, 'first': 5_897_216, 'last': 6_304_144}


def build_on_meta(name='cspdensenet121', **kwargs):
    with torch.device('meta'):
        return mmcnn.build_backbone(name, **kwargs)


def run_on_meta(backbone, size=224):
    """Output shapes of all modules by name, and the multiply-adds of all convolutions."""
    shapes, adds = {}, []

    def note(name):
        def hook(module, inputs, output):
            shapes[name] = tuple(output.shape[1:])
            if isinstance(module, nn.Conv2d):
                adds.append(module.weight.numel() * output.shape[2] * output.shape[3])

        return hook

    for name, module in backbone.named_modules():
        if name:
            module.register_forward_hook(note(name))
    backbone(torch.empty(1, 3, size, size, device='meta'))
    return shapes, sum(adds)


def costs_of(table):
    """Trainable parameters and, at 224 x 224, multiply-adds of a table."""
    norms, convs = 2 * 64, [(49 * 3 * 64, 112)]  # (weights, side of the output) of each convolution
    for (opened, half, dense, kept, _), depth, side in zip(table, DEPTHS, (56, 28, 14, 7), strict=True):
        if opened:
            norms += 2 * opened[0]
            convs.append((opened[0] * opened[1], 2 * side))  # the pool comes after it
        for channels in range(half, half + 32 * depth, 32):
            norms += 2 * (channels + 128)
            convs += [(channels * 128, side), (9 * 128 * 32, side)]
        if kept:
            norms += 2 * dense
            convs.append((dense * kept, side))
    norms += 2 * table[-1][-1]
    return norms + sum(weights for weights, _ in convs), sum(weights * side**2 for weights, side in convs)


@pytest.mark.parametrize('fusion', TABLES)
def test_layers_of_the_paper(fusion):
    backbone = build_on_meta(arch=dict(fusion=fusion))
    shapes, _ = run_on_meta(backbone)
    assert shapes['stem'] == (64, 112, 112)
    channels = 64
    for level, (opened, half, dense, kept, fused) in enumerate(TABLES[fusion], start=2):
        stage, side = f'stage{level}', 224 // 2**level
        if opened:
            assert shapes[f'{stage}.down.conv'] == (opened[1], 2 * side, 2 * side)
        assert shapes[f'{stage}.down'] == (opened[1] if opened else channels, side, side)
        assert f'{stage}.down.conv' in shapes or opened is None
        assert shapes[f'{stage}.block'] == (dense, side, side)
        assert getattr(backbone, stage).block.layer1.conv1.conv.in_channels == half
        assert shapes[f'{stage}.transition'] == (kept or dense, side, side)
        assert (f'{stage}.transition.conv' in shapes) == (kept is not None)
        assert shapes[stage] == (fused, side, side)
        channels = fused
    assert costs_of(TABLES[fusion])[0] == COUNTS[fusion]
    assert mmcnn.count_parameters(backbone)[1] == COUNTS[fusion]


def test_default_is_both():
    assert mmcnn.count_parameters(build_on_meta())[1] == COUNTS['both']
    with pytest.raises(ValueError, match="fusion='middle' of CSPDenseNet must be one of both, first, last"):
        build_on_meta(arch=dict(fusion='middle'))


@pytest.mark.parametrize(('fusion', 'percent'), [('both', 88), ('first', 91), ('last', 90)])
def test_saves_computation(fusion, percent):
    """The paper's claim, against the 2.83 G multiply-adds that torchvision publishes for DenseNet-121."""
    dense = build_on_meta('densenet121')
    _, dense_adds = run_on_meta(dense)
    assert dense_adds == pytest.approx(2.83e9, rel=0.005)
    csp = build_on_meta(arch=dict(fusion=fusion))
    _, csp_adds = run_on_meta(csp)
    assert csp_adds == costs_of(TABLES[fusion])[1]
    assert round(100 * csp_adds / dense_adds) == percent
    assert mmcnn.count_parameters(csp)[1] < mmcnn.count_parameters(dense)[1]


@pytest.mark.parametrize('fusion', TABLES)
def test_half_goes_round_the_block(fusion):
    """The first half of a stage's map reaches the output unchanged, the second only through the block."""
    backbone = mmcnn.build_backbone(
        'cspdensenet121', widen_factor=0.25, deepen_factor=0.33, arch=dict(fusion=fusion), out_indices=(2, 3)
    ).eval()
    level2, level3 = backbone(torch.randn(1, 3, 64, 96))
    x = backbone.stage3.down(level2)
    half = x.shape[1] // 2
    assert torch.equal(level3[:, :half], x[:, :half])
    maps = x[:, half:]
    for layer in backbone.stage3.block.values():
        new = F.relu(F.batch_norm(maps, layer.pre.bn.running_mean, layer.pre.bn.running_var, eps=1e-5))
        new = F.conv2d(new, layer.conv1.conv.weight)
        new = F.relu(F.batch_norm(new, layer.conv1.bn.running_mean, layer.conv1.bn.running_var, eps=1e-5))
        maps = torch.cat([maps, F.conv2d(new, layer.conv2.weight, padding=1)], dim=1)
    if fusion != 'first':
        transition = backbone.stage3.transition
        maps = F.relu(F.batch_norm(maps, transition.pre.bn.running_mean, transition.pre.bn.running_var, eps=1e-5))
        maps = F.conv2d(maps, transition.conv.weight)
    torch.testing.assert_close(level3[:, half:], maps)
