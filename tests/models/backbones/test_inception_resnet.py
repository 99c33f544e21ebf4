import pytest
import torch
from torch import nn

import mmcnn
from mmcnn.models.backbones.inception_resnet import InceptionResidual
from mmcnn.models.layers import Conv

LEVELS = (1, 2, 3, 4, 5)
# Channels and side of the maps of a 299 x 299 image, strides 2 to 32: figures 14 and 15; v2 as it was released.
MAPS = {
    'inception-resnet-v1': [(64, 147), (192, 71), (256, 35), (896, 17), (1792, 8)],
    'inception-resnet-v2': [(64, 147), (192, 71), (320, 35), (1088, 17), (2080, 8)],
}


def on_meta(build, name, **kwargs):
    with torch.device('meta'):
        return build(name, **kwargs)


@pytest.mark.parametrize(
    ('name', 'counts'),
    [
        ('inception-resnet-v2', (55_873_736, 55_813_192)),
        ('inception-resnet-v2-timm', (55_873_736 + 30_272, 55_813_192 + 30_272)),  # with a gamma for each channel
    ],
)
def test_published_counts(name, counts):
    assert mmcnn.count_parameters(on_meta(mmcnn.build_classifier, name)) == counts


# The layers of v1 in figures 10 to 14, by module: (inputs, area of the kernel, outputs).
V1_STEM = [(3, 9, 32), (32, 9, 32), (32, 9, 64), (64, 1, 80), (80, 9, 192), (192, 9, 256)]
V1_A = [(256, 1, 32), (256, 1, 32), (32, 9, 32), (256, 1, 32), (32, 9, 32), (32, 9, 32)]
V1_REDUCTION_A = [(256, 9, 384), (256, 1, 192), (192, 9, 192), (192, 9, 256)]
V1_B = [(896, 1, 128), (896, 1, 128), (128, 7, 128), (128, 7, 128)]
V1_REDUCTION_B = [
    (896, 1, 256), (256, 9, 384), (896, 1, 256), (256, 9, 256), (896, 1, 256), (256, 9, 256), (256, 9, 256),
]  # fmt: skip
V1_C = [(1792, 1, 192), (1792, 1, 192), (192, 3, 192), (192, 3, 192)]
# The 1x1 before the addition, with bias.
V1_PROJECTIONS = 5 * [(96, 256)] + 10 * [(256, 896)] + 5 * [(384, 1792)]


def test_v1_counts_by_its_layers():
    layers = V1_STEM + 5 * V1_A + V1_REDUCTION_A + 10 * V1_B + V1_REDUCTION_B + 5 * V1_C
    weights = sum(c * k * out for c, k, out in layers) + sum(c * out + out for c, out in V1_PROJECTIONS)
    channels = sum(out for _, _, out in layers)  # each has a beta, a mean and a variance
    backbone = on_meta(mmcnn.build_backbone, 'inception-resnet-v1')
    assert mmcnn.count_parameters(backbone) == (weights + 3 * channels, weights + channels)
    classifier = on_meta(mmcnn.build_classifier, 'inception-resnet-v1')
    assert mmcnn.count_parameters(classifier.top) == (1792 * 1000 + 1000,) * 2


def test_v1_convolves_rows_before_columns():
    stages = residual_blocks(on_meta(mmcnn.build_backbone, 'inception-resnet-v1'))
    kernels = {
        name: [conv.kernel_size for conv in blocks[0].branches.modules() if isinstance(conv, nn.Conv2d)][-2:]
        for name, blocks in stages.items()
    }
    assert kernels == dict(stage3=[(3, 3), (3, 3)], stage4=[(1, 7), (7, 1)], stage5=[(1, 3), (3, 1)])  # figures 10-13


def test_v1_with_a_sixth_c_block_has_facenets_counts():
    """FaceNet in Keras has 22,808,144 and 22,779,312 parameters with 128 outputs without bias and their BatchNorm."""
    backbone = on_meta(mmcnn.build_backbone, 'inception-resnet-v1', arch=dict(depths=(0, 5, 10, 6), linear_end=True))
    head = 1792 * 128
    assert mmcnn.count_parameters(backbone) == (22_808_144 - head - 3 * 128, 22_779_312 - head - 128)


@pytest.mark.parametrize('name', MAPS)
def test_maps_of_the_paper(name):
    backbone = on_meta(mmcnn.build_backbone, name, arch=dict(padding='valid'), out_indices=LEVELS)
    maps = backbone(torch.empty(1, 3, 299, 299, device='meta'))
    assert [tuple(x.shape[1:]) for x in maps] == [(c, side, side) for c, side in MAPS[name]]
    trunk = on_meta(mmcnn.build_classifier, name).backbone  # a classifier has this padding by default
    assert trunk(torch.empty(1, 3, 299, 299, device='meta'))[-1].shape == maps[-1].shape


def residual_blocks(backbone):
    return {
        name: [module for module in stage if isinstance(module, InceptionResidual)]
        for name, stage in backbone.named_children()
        if any(isinstance(module, InceptionResidual) for module in stage)
    }


def test_v2_scales_and_its_linear_end():
    stages = residual_blocks(on_meta(mmcnn.build_backbone, 'inception-resnet-v2'))
    assert {name: [block.scale for block in blocks] for name, blocks in stages.items()} == dict(
        stage3=[0.17] * 10, stage4=[0.10] * 20, stage5=[0.20] * 9 + [1.0]
    )
    *blocks, last = [block for blocks in stages.values() for block in blocks]
    assert isinstance(last.act, nn.Identity) and all(isinstance(block.act, nn.ReLU) for block in blocks)
    assert all(block.project.bias is not None for block in (*blocks, last))


def test_v1_scales_and_its_activations():
    stages = residual_blocks(on_meta(mmcnn.build_backbone, 'inception-resnet-v1'))
    assert {name: [block.scale for block in blocks] for name, blocks in stages.items()} == dict(
        stage3=[0.17] * 5, stage4=[0.10] * 10, stage5=[0.20] * 5
    )
    assert all(isinstance(block.act, nn.ReLU) for blocks in stages.values() for block in blocks)


@pytest.mark.parametrize(('scale', 'expected'), [(0.25, [0.0, 1.5]), (None, [-1.0, 3.0])])
def test_residual_is_scaled_then_added(scale, expected):
    block = InceptionResidual(1, (Conv(2),), scale, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'))
    nn.init.zeros_(block.project.weight)
    nn.init.constant_(block.project.bias, 2.0)
    x = torch.tensor([-3.0, 1.0]).view(1, 1, 1, 2)
    assert block.eval()(x).flatten().tolist() == expected
