import pytest
import torch
from torch import nn

import mmcnn

# Part, output channels and side of the map at 299 x 299: the paper's Table 1, with Keras's and torchvision's widths.
TABLE_1 = [
    ('stem.0', 32, 149), ('stem.1', 32, 147), ('stem.2', 64, 147),
    ('stage2.0', 64, 73), ('stage2.1', 80, 73), ('stage2.2', 192, 71),
    ('stage3.0', 192, 35), ('stage3.1', 256, 35), ('stage3.2', 288, 35), ('stage3.3', 288, 35),
    ('stage4.0', 768, 17), ('stage4.1', 768, 17), ('stage4.2', 768, 17), ('stage4.3', 768, 17), ('stage4.4', 768, 17),
    ('stage5.0', 1280, 8), ('stage5.1', 2048, 8), ('stage5.2', 2048, 8),
]  # fmt: skip


def on_meta(build, name, **kwargs):
    with torch.device('meta'):
        return build(name, **kwargs)


@pytest.mark.parametrize(
    ('name', 'total', 'trainable'),
    [
        ('inceptionv3', 23_851_784, 23_817_352),
        ('inceptionv3-tv', 23_869_000, 27_161_264 - 3_326_696),  # torchvision's num_params minus its auxiliary head
    ],
)
def test_published_counts(name, total, trainable):
    assert mmcnn.count_parameters(on_meta(mmcnn.build_classifier, name)) == (total, trainable)


def test_classifier_has_the_maps_of_the_papers_table():
    backbone = on_meta(mmcnn.build_classifier, 'inceptionv3').backbone
    shapes = {}
    for part, *_ in TABLE_1:
        backbone.get_submodule(part).register_forward_hook(
            lambda module, inputs, x, part=part: shapes.update({part: tuple(x.shape[1:])})
        )
    backbone(torch.empty(1, 3, 299, 299, device='meta'))
    assert shapes == {part: (channels, side, side) for part, channels, side in TABLE_1}


def test_detection_backbone_differs_in_the_padding_only():
    detector = on_meta(mmcnn.build_backbone, 'inceptionv3', out_indices=(1, 2, 3, 4, 5))
    classifier = on_meta(mmcnn.build_classifier, 'inceptionv3').backbone
    shapes = [{key: tuple(v.shape) for key, v in net.state_dict().items()} for net in (detector, classifier)]
    assert shapes[0] == shapes[1]
    maps = detector(torch.empty(1, 3, 299, 299, device='meta'))
    assert [x.shape[-1] for x in maps] == [150, 75, 38, 19, 10]


@pytest.mark.parametrize(('name', 'gamma', 'counted'), [('inceptionv3', False, False), ('inceptionv3-tv', True, True)])
def test_norms_and_pools(name, gamma, counted):
    backbone = on_meta(mmcnn.build_backbone, name)
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 94 and {m.eps for m in norms} == {1e-3}
    assert {m.weight is not None for m in norms} == {gamma}
    assert not any(m.bias is not None for m in backbone.modules() if isinstance(m, nn.Conv2d))
    pools = [m for m in backbone.modules() if isinstance(m, nn.AvgPool2d)]
    assert len(pools) == 9 and {m.count_include_pad for m in pools} == {counted}


def test_factorised_kernels():
    """Each module at stride 16 has two factorised 7x7 branches; each at stride 32 forks into 1x3 and 3x1."""
    backbone = on_meta(mmcnn.build_backbone, 'inceptionv3')
    reduction4, *stage4 = backbone.stage4
    reduction5, *stage5 = backbone.stage5
    kernels = [
        [conv.kernel_size for part in parts for conv in part.modules() if isinstance(conv, nn.Conv2d)]
        for parts in ([backbone.stage3], [reduction4], stage4, [reduction5], stage5)
    ]
    assert [sizes.count((5, 5)) for sizes in kernels] == [3, 0, 0, 0, 0]
    assert [sizes.count((1, 7)) for sizes in kernels] == [0, 0, 12, 1, 0]
    assert [sizes.count((7, 1)) for sizes in kernels] == [0, 0, 12, 1, 0]
    assert [sizes.count((1, 3)) for sizes in kernels] == [0, 0, 0, 0, 4]
    assert [sizes.count((3, 1)) for sizes in kernels] == [0, 0, 0, 0, 4]
    assert [sizes.count((3, 3)) for sizes in kernels] == [6, 3, 0, 2, 2]
