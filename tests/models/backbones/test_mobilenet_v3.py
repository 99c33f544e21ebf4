import pytest
import torch
from torch import nn

import mmcnn
from mmcnn.models.layers import SqueezeExcite

# keras.applications' parameter counts, and multiply-adds in millions as published with the authors' checkpoints
# (torchvision's number for Small, whose first release was larger).
PUBLISHED = {
    'mobilenetv3-small': (2_554_968, 2_542_856, 57),
    'mobilenetv3-small-tv': (2_554_968, 2_542_856, 57),
    'mobilenetv3-small-075': (2_051_552, 2_041_872, 44),
    'mobilenetv3-large': (5_507_432, 5_483_032, 217),
    'mobilenetv3-large-tv': (5_507_432, 5_483_032, 217),
    'mobilenetv3-large-075': (4_012_616, 3_993_528, 155),
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_counts(name, multiply_adds):
    total, trainable, millions = PUBLISHED[name]
    with torch.device('meta'):
        classifier = mmcnn.build_classifier(name)
    assert mmcnn.count_parameters(classifier) == (total, trainable)
    assert multiply_adds(name) == pytest.approx(millions, abs=1)


def test_maps_of_the_papers_tables(maps):
    assert maps('mobilenetv3-large', 224) == [(16, 112), (24, 56), (40, 28), (112, 14), (160, 7)]
    assert maps('mobilenetv3-small', 224) == [(16, 112), (16, 56), (24, 28), (48, 14), (96, 7)]


# Tables 1 and 2, line by line: kernel, exp size, #out, SE, NL, stride.
LARGE = """
3 16 16 - RE 1
3 64 24 - RE 2
3 72 24 - RE 1
5 72 40 SE RE 2
5 120 40 SE RE 1
5 120 40 SE RE 1
3 240 80 - HS 2
3 200 80 - HS 1
3 184 80 - HS 1
3 184 80 - HS 1
3 480 112 SE HS 1
3 672 112 SE HS 1
5 672 160 SE HS 2
5 960 160 SE HS 1
5 960 160 SE HS 1
"""
SMALL = """
3 16 16 SE RE 2
3 72 24 - RE 2
3 88 24 - RE 1
5 96 40 SE HS 2
5 240 40 SE HS 1
5 240 40 SE HS 1
5 120 48 SE HS 1
5 144 48 SE HS 1
5 288 96 SE HS 2
5 576 96 SE HS 1
5 576 96 SE HS 1
"""


@pytest.mark.parametrize(('name', 'table'), [('mobilenetv3-large', LARGE), ('mobilenetv3-small', SMALL)])
def test_blocks_are_the_papers_lines(name, table):
    backbone, lines = mmcnn.build_backbone(name), table.strip().splitlines()
    assert not hasattr(backbone, f'block{len(lines) + 1}')
    for i, line in enumerate(lines, start=1):
        block = getattr(backbone, f'block{i}')
        conv = block.depthwise.conv
        excite = 'SE' if isinstance(block.excite, SqueezeExcite) else '-'
        act = {nn.ReLU: 'RE', nn.Hardswish: 'HS'}[type(block.depthwise.act)]
        out = block.project.conv.out_channels
        assert f'{conv.kernel_size[0]} {conv.groups} {out} {excite} {act} {conv.stride[0]}' == line, i
        assert isinstance(block.expand, nn.Identity) == (i == 1)


def test_squeeze_excite():
    """It squeezes to a quarter of the hidden channels, in multiples of 8 (18 becomes 24, 30 becomes 32)."""
    backbone = mmcnn.build_backbone('mobilenetv3-small')
    layers = [m for m in backbone.modules() if isinstance(m, SqueezeExcite)]
    assert [m.reduce.out_channels for m in layers] == [8, 24, 64, 64, 32, 40, 72, 144, 144]
    assert {(type(m.act), type(m.gate)) for m in layers} == {(nn.ReLU, nn.Hardsigmoid)}
    large = mmcnn.build_backbone('mobilenetv3-large')
    assert large.block4.excite.reduce.out_channels == 24


def test_torchvision_form_differs_where_it_says():
    keras, torchvision = (mmcnn.build_backbone(name) for name in ('mobilenetv3-small', 'mobilenetv3-small-tv'))
    assert keras.state_dict().keys() == torchvision.state_dict().keys()
    assert keras.stem.bn.eps == torchvision.stem.bn.eps == 1e-3
    assert (keras.stem.bn.momentum, torchvision.stem.bn.momentum) == (0.001, 0.01)
    assert keras.stem.conv.padding == (0, 0) and torchvision.stem.conv.padding == (1, 1)


def test_deeper_forms_repeat_the_last_block_of_a_group():
    """Small has groups of 1, 2, 3, 2 and 3 blocks; at 1.5 times the depth they have 2, 3, 4, 3 and 4."""
    backbone = mmcnn.build_backbone('mobilenetv3-small', deepen_factor=1.5)
    blocks = [getattr(backbone, f'block{i}') for i in range(1, 17)]
    assert not hasattr(backbone, 'block17')
    hidden = [block.depthwise.conv.groups for block in blocks]
    assert hidden == [16, 16, 72, 88, 88, 96, 240, 240, 240, 120, 144, 144, 288, 576, 576, 576]
