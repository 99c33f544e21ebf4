import pytest
import torch
from torch import nn

import mmcnn
from mmcnn.models.layers import SameConv2d

# keras.applications' parameter counts, and multiply-adds in millions as published with the authors' checkpoints.
PUBLISHED = {
    'mobilenetv2': (3_538_984, 3_504_872, 300),
    'mobilenetv2-tv': (3_538_984, 3_504_872, 300),
    'mobilenetv2-035': (1_691_208, 1_677_128, 59),
    'mobilenetv2-050': (1_987_224, 1_968_680, 97),
    'mobilenetv2-075': (2_663_064, 2_636_424, 209),
    'mobilenetv2-130': (5_431_048, 5_386_792, 509),
    'mobilenetv2-140': (6_156_712, 6_108_776, 582),
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_counts(name, multiply_adds):
    total, trainable, millions = PUBLISHED[name]
    with torch.device('meta'):
        classifier = mmcnn.build_classifier(name)
    assert mmcnn.count_parameters(classifier) == (total, trainable)
    assert multiply_adds(name) == pytest.approx(millions, abs=1)


def test_maps_of_the_papers_table(maps):
    assert maps('mobilenetv2', 224) == [(16, 112), (24, 56), (32, 28), (96, 14), (320, 7)]


def test_blocks():
    backbone = mmcnn.build_backbone('mobilenetv2')
    blocks = [getattr(backbone, f'block{i}') for i in range(1, 18)]
    assert isinstance(blocks[0].expand, nn.Identity)
    assert all(b.depthwise.conv.groups == 6 * b.expand.conv.in_channels for b in blocks[1:])
    # In the seven groups of 1, 2, 3, 4, 3, 3 and 1 blocks, all but the first of a group have a shortcut.
    assert [i for i, b in enumerate(blocks, start=1) if b.residual] == [3, 5, 6, 8, 9, 10, 12, 13, 15, 16]
    # The bottlenecks are linear.
    assert all(isinstance(b.project.act, nn.Identity) for b in blocks)
    assert {type(b.depthwise.act) for b in blocks} == {nn.ReLU6}


@pytest.mark.parametrize(('name', 'kind'), [('mobilenetv2', SameConv2d), ('mobilenetv2-tv', nn.Conv2d)])
def test_padding(name, kind):
    convs = [m for m in mmcnn.build_backbone(name).modules() if isinstance(m, nn.Conv2d)]
    assert [type(m) for m in convs if m.stride == (2, 2)] == [kind] * 5


def test_the_last_convolution_is_widened_but_never_narrowed():
    widths = {
        name: mmcnn.build_classifier(name).top.conv.conv.out_channels
        for name in ('mobilenetv2-035', 'mobilenetv2', 'mobilenetv2-140')
    }
    assert widths == {'mobilenetv2-035': 1280, 'mobilenetv2': 1280, 'mobilenetv2-140': 1792}
