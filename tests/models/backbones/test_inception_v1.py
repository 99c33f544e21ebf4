import pytest
import torch
from torch import nn

import mmcnn

# Module, output channels and side of the map at 224 x 224, from the paper's Table 1.
TABLE_1 = [
    ('stem', 64, 112), ('stage2.0', 64, 56), ('stage2', 192, 56),
    ('stage3.0', 192, 28), ('stage3.1', 256, 28), ('stage3.2', 480, 28),
    ('stage4.0', 480, 14), ('stage4.1', 512, 14), ('stage4.2', 512, 14), ('stage4.3', 512, 14), ('stage4.4', 528, 14),
    ('stage4.5', 832, 14), ('stage5.0', 832, 7), ('stage5.1', 832, 7), ('stage5.2', 1024, 7),
]  # fmt: skip


def shapes_at(backbone, names, size):
    """Shape (C, H, W) of the output of each module in ``names`` for a square image."""
    shapes = {}
    for name in names:
        backbone.get_submodule(name).register_forward_hook(
            lambda module, inputs, x, name=name: shapes.update({name: tuple(x.shape[1:])})
        )
    backbone(torch.empty(1, 3, size, size, device='meta'))
    return shapes


def on_meta(build, name, **kwargs):
    with torch.device('meta'):
        return build(name, **kwargs)


@pytest.mark.parametrize(
    ('name', 'total', 'trainable'),
    [
        ('inceptionv1', 7_000_476, 7_000_476),
        ('inceptionv1-paper', 6_998_552, 6_998_552),
        ('inceptionv1-tv', 6_639_464, 6_624_904),  # 6,624,904: torchvision's num_params; plus 14,560 running statistics
    ],
)
def test_published_counts(name, total, trainable):
    assert mmcnn.count_parameters(on_meta(mmcnn.build_classifier, name)) == (total, trainable)


def test_maps_are_those_of_the_papers_table():
    shapes = shapes_at(on_meta(mmcnn.build_backbone, 'inceptionv1-paper'), [name for name, *_ in TABLE_1], 224)
    assert shapes == {name: (channels, side, side) for name, channels, side in TABLE_1}


def test_reference_form_differs_in_two_places():
    """Its stem lacks a 1x1 and its 3b has 4 more outputs; everything else has the paper's shapes."""
    paper, reference = (on_meta(mmcnn.build_backbone, name) for name in ('inceptionv1-paper', 'inceptionv1'))
    stems = [[tuple(conv.shape) for conv in net.stage2.state_dict().values()] for net in (paper, reference)]
    assert stems == [[(64, 64, 1, 1), (64,), (192, 64, 3, 3), (192,)], [(192, 64, 3, 3), (192,)]]
    shapes = [{key: tuple(value.shape) for key, value in net.state_dict().items()} for net in (paper, reference)]
    keys = {key for key in shapes[0].keys() | shapes[1].keys() if not key.startswith('stage2.')}
    assert {key for key in keys if shapes[0].get(key) != shapes[1].get(key)} == {
        'stage3.2.1.1.conv.weight', 'stage3.2.1.1.conv.bias',  # 196 outputs
        *(f'stage4.1.{layer}.conv.weight' for layer in ('0.0', '1.0', '2.0', '3.1')),
    }  # fmt: skip
    assert shapes[1]['stage3.2.1.1.conv.weight'] == (196, 128, 3, 3)
    assert shapes[1]['stage4.1.0.0.conv.weight'] == (192, 484, 1, 1)


@pytest.mark.parametrize(('name', 'kernel'), [('inceptionv1', 5), ('inceptionv1-paper', 5), ('inceptionv1-tv', 3)])
def test_kernel_of_the_third_branch(name, kernel):
    backbone = on_meta(mmcnn.build_backbone, name)
    found = [module[2][1].conv.kernel_size for i in (3, 4, 5) for module in list(getattr(backbone, f'stage{i}'))[1:]]
    assert found == 9 * [(kernel, kernel)]


@pytest.mark.parametrize(('name', 'bias'), [('inceptionv1', True), ('inceptionv1-tv', False)])
def test_bias_or_norm(name, bias):
    convs = [m for m in on_meta(mmcnn.build_backbone, name).modules() if hasattr(m, 'conv') and hasattr(m, 'bn')]
    assert len(convs) == (56 if bias else 57)  # 9 modules of 6, and the stem
    assert {unit.conv.bias is not None for unit in convs} == {bias}
    assert {isinstance(unit.bn, nn.Identity) for unit in convs} == {bias}


def test_local_response_normalisation_is_where_figure_3_has_it():
    backbone = on_meta(mmcnn.build_backbone, 'inceptionv1-paper')
    norms = [name for name, module in backbone.named_modules() if isinstance(module, nn.LocalResponseNorm)]
    assert norms == ['stage2.1', 'stage2.4']  # after the first pool, and before the second, which opens stage 3
    assert [part.conv.kernel_size for part in list(backbone.stage2)[2:4]] == [(1, 1), (3, 3)]
    for name in ('inceptionv1', 'inceptionv1-tv'):
        modules = on_meta(mmcnn.build_backbone, name).modules()
        assert not any(isinstance(m, nn.LocalResponseNorm) for m in modules)


@pytest.mark.parametrize(
    ('name', 'dropout'), [('inceptionv1', 0.4), ('inceptionv1-paper', 0.4), ('inceptionv1-tv', 0.2)]
)
def test_dropout_before_the_classes(name, dropout):
    assert on_meta(mmcnn.build_classifier, name).top.dropout.p == dropout


def test_fewer_modules_keep_each_stages_output():
    """At depth 0.33 the last modules of each stage remain: 3b, 4d and 4e, 5b."""
    backbone = on_meta(mmcnn.build_backbone, 'inceptionv1-paper', deepen_factor=0.33, out_indices=(1, 2, 3, 4, 5))
    assert [len(getattr(backbone, f'stage{i}')) for i in (3, 4, 5)] == [1 + 1, 1 + 2, 1 + 1]  # and the pool
    assert backbone.out_channels == (64, 192, 480, 832, 1024)
    assert backbone.stage4[1][0][0].conv.weight.shape == (112, 480, 1, 1)
