import numpy as np
import pytest
import torch

from mmcnn.errors import CheckpointError
from mmcnn.models.families import backbone_families
from mmcnn.weights.sources.keras import prepare, to_torch

B0 = backbone_families()['efficientnet-b0'].variants['efficientnet-b0']
RESNET50 = backbone_families()['resnet50'].variants['resnet50']
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalisation(mean, variance, shape=(3,)):
    return {
        'stem_conv.kernel': torch.ones(3, 3, 3, 32),
        'normalization_0.mean': torch.tensor(mean).reshape(shape),
        'normalization_0.variance': torch.tensor(variance).reshape(shape),
        'normalization_0.count': torch.tensor(0),
    }


@pytest.mark.parametrize('shape', [(3,), (1, 1, 1, 3)])
@pytest.mark.parametrize('variance', [STD, tuple(each**2 for each in STD)])
def test_an_input_normalisation_like_the_rows_is_left_out(shape, variance):
    given = prepare(normalisation(MEAN, variance, shape), B0)
    assert list(given.state) == ['stem_conv.kernel']
    assert given.left_out == {
        'input normalisation': ('normalization_0.mean', 'normalization_0.variance', 'normalization_0.count')
    }
    assert given.notes == []


@pytest.mark.parametrize(('mean', 'variance'), [((0.0,) * 3, (1.0,) * 3), (MEAN, (1.0,) * 3), ((0.5,) * 3, STD)])
def test_another_input_normalisation_is_told(mean, variance):
    (note,) = prepare(normalisation(mean, variance), B0).notes
    told = f'mean ({mean[0]:g}, {mean[1]:g}, {mean[2]:g}) and variance ({variance[0]:g}'
    assert note.startswith(f'the file normalises images in 0..1 with {told}')
    assert note.endswith('with mean (123.675, 116.28, 103.53) and std (58.395, 57.12, 57.375)')
    assert prepare({'normalization_0.count': torch.tensor(0)}, B0).notes != []


def test_the_epsilon_of_old_resnets_moves_into_the_variance():
    names = ('bn_conv1', 'bn2a_branch2a')
    state = {f'{name}.{array}': torch.tensor([0.5]) for name in names for array in ('gamma', 'moving_variance')}
    given = prepare(state, RESNET50)
    for name in names:
        assert given.state[f'{name}.gamma'] == 0.5
        # A BatchNorm uses the two only as 1 / sqrt(variance + epsilon).
        assert float(given.state[f'{name}.moving_variance'] + RESNET50.norm['eps']) == pytest.approx(0.501, rel=1e-6)
    assert 'epsilon 0.001' in given.notes[0]
    new = {'conv1_bn.moving_variance': torch.tensor([0.5])}
    assert prepare(new, RESNET50).state == new and prepare(new, RESNET50).notes == []


def test_layouts():
    kernel = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).float()
    name, plain = to_torch('a.kernel', kernel)
    assert name == 'a.weight' and plain.shape == (5, 4, 2, 3) and plain[4, 1, 0, 2] == kernel[0, 2, 1, 4]
    name, depthwise = to_torch('a.depthwise_kernel', kernel)
    assert name == 'a.weight' and depthwise.shape == (20, 1, 2, 3)
    assert depthwise[2 * 5 + 3, 0, 1, 2] == kernel[1, 2, 2, 3]  # channel 2, output 3 of its 5
    assert to_torch('a.pointwise_kernel', kernel)[0] == 'a/pointwise.weight'
    assert np.array_equal(to_torch('a.kernel', kernel[0, 0])[1], kernel[0, 0].T)
    with pytest.raises(CheckpointError, match=r"'a\.alpha' is not an array of a known Keras layer"):
        to_torch('a.alpha', kernel)
