import pytest
import torch
from mmcv.cnn.bricks import DropPath

import mmcnn
from mmcnn.models.layers import SqueezeExcite

#: Keras also counts its input normalisation: mean and variance of three channels, and a counter.
KERAS_NORMALIZATION = 7
# keras.applications' total and trainable parameters; side of the image; multiply-adds in millions (Table 2).
PUBLISHED = {
    'b0': (5_330_571, 5_288_548, 224, 390),
    'b1': (7_856_239, 7_794_184, 240, 700),
    'b2': (9_177_569, 9_109_994, 260, 1_000),
    'b3': (12_320_535, 12_233_232, 300, 1_800),
    'b4': (19_466_823, 19_341_616, 380, 4_200),
    'b5': (30_562_527, 30_389_784, 456, 9_900),
    'b6': (43_265_143, 43_040_704, 528, 19_000),
    'b7': (66_658_687, 66_347_960, 600, 37_000),
}


@pytest.mark.parametrize('form', ['', '-tv'])
@pytest.mark.parametrize('size', PUBLISHED)
def test_published_counts(size, form):
    total, trainable, *_ = PUBLISHED[size]
    with torch.device('meta'):
        classifier = mmcnn.build_classifier(f'efficientnet-{size}{form}')
    ours = mmcnn.count_parameters(classifier)
    assert (ours[0] + KERAS_NORMALIZATION, ours[1]) == (total, trainable)


@pytest.mark.parametrize('size', PUBLISHED)
def test_published_costs(size, multiply_adds):
    *_, side, millions = PUBLISHED[size]
    name = f'efficientnet-{size}'
    with torch.device('meta'):
        assert mmcnn.build_classifier(name).image.size == side
    assert multiply_adds(name) == pytest.approx(millions, rel=0.05)


def test_maps_of_the_papers_table(maps):
    assert maps('efficientnet-b0', 224) == [(16, 112), (24, 56), (40, 28), (112, 14), (320, 7)]
    assert maps('efficientnet-b4', 380) == [(24, 190), (32, 95), (56, 48), (160, 24), (448, 12)]
    assert maps('efficientnet-b7', 600) == [(32, 300), (48, 150), (80, 75), (224, 38), (640, 19)]


def test_squeeze_is_a_quarter_of_the_blocks_input():
    backbone = mmcnn.build_backbone('efficientnet-b0')
    layers = [m for m in backbone.modules() if isinstance(m, SqueezeExcite)]
    squeezed = [8, 4, 6, 6, 10, 10, 20, 20, 20, 28, 28, 28, 48, 48, 48, 48]
    assert [m.reduce.out_channels for m in layers] == squeezed


def test_drop_path_grows_with_depth():
    """Only those of B0's 16 blocks that have a shortcut are dropped, block b with probability 0.2 b / 16."""
    backbone = mmcnn.build_backbone('efficientnet-b0')
    rates = [m.drop_prob for m in backbone.modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx([0.2 * b / 16 for b in (2, 4, 6, 7, 9, 10, 12, 13, 14)])
    none = mmcnn.build_backbone('efficientnet-b0', arch=dict(drop_path=0.0))
    assert not any(isinstance(m, DropPath) for m in none.modules())


@pytest.mark.parametrize(
    ('name', 'eps', 'momentum', 'padding'),
    [
        ('efficientnet-b0', 1e-3, 0.01, (0, 0)),  # 'same' padding is done in the forward pass
        ('efficientnet-b0-tv', 1e-5, 0.1, (1, 1)),
        ('efficientnet-b4-tv', 1e-5, 0.1, (1, 1)),
        ('efficientnet-b5-tv', 1e-3, 0.01, (1, 1)),
    ],
)
def test_forms(name, eps, momentum, padding):
    with torch.device('meta'):
        stem = mmcnn.build_backbone(name, out_indices=(1,)).stem
    assert (stem.bn.eps, stem.bn.momentum, stem.conv.padding) == (eps, momentum, padding)


def test_multipliers_are_settings():
    """B0's row with the depth multiplier 1.1 is B1: 1, 2, 2, 3, 3, 4, 1 blocks round up to 2, 3, 3, 4, 4, 5, 2."""
    with torch.device('meta'):
        b1 = mmcnn.build_backbone('efficientnet-b1')
        made = mmcnn.build_backbone('efficientnet-b0', arch=dict(depth_multiplier=1.1))
    assert [len(getattr(b1, f'stage{i}')) for i in range(1, 8)] == [2, 3, 3, 4, 4, 5, 2]
    assert made.state_dict().keys() == b1.state_dict().keys()
