import pytest
import torch
from safetensors.torch import save_file

import mmcnn
from mmcnn.errors import CheckpointError
from mmcnn.weights.sources.timm import SOURCE
from mmcnn.weights.sources.translate import OtherRowError


@pytest.fixture
def state_of(timm):
    def state(network):
        with torch.device('meta'):
            return timm.create_model(network, pretrained=False).state_dict()

    return state


@pytest.mark.parametrize(
    ('network', 'row', 'fitting'),
    [
        ('cspdarknet53', 'cspdarknet53', ('cspdarknet53-timm',)),
        ('darknet53', 'darknet53', ('darknet53-timm',)),
        ('legacy_xception', 'xception', ('xception-timm',)),
        ('densenet121', 'densenet121', ('densenet121-tv', 'densenet169-tv', 'densenet201-tv')),
    ],
)
def test_rows_of_another_form_are_refused(state_of, network, row, fitting):
    with pytest.raises(OtherRowError, match=r"timm's network has .* with its weights$") as error:
        SOURCE.translate(state_of(network), row)
    assert error.value.fitting == fitting


def test_the_mish_row_takes_no_leaky_weights(state_of, tmp_path):
    path, model = tmp_path / 'cspdarknet53.safetensors', mmcnn.build_backbone('cspdarknet53', out_indices=(1,))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = {key: torch.ones(value.shape if value.numel() < 99_999 else (1,)) for key, value in
             state_of('cspdarknet53').items()}  # fmt: skip
    save_file(state, path)
    with pytest.raises(CheckpointError) as error:
        mmcnn.load_weights(model, path)
    assert str(error.value) == (
        f"{path}: timm's network has act={{'type': 'LeakyReLU', 'negative_slope': 0.01}}, but cspdarknet53 has "
        "{'type': 'mmcnn.Mish'} and would give wrong results with its weights"
    )
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert mmcnn.load_weights(mmcnn.build_backbone('cspdarknet53-timm', out_indices=(1,)), path).source == 'timm'


def test_both_forms_of_efficientnet_are_taken(state_of):
    # The two have the same names and shapes, so a file does not show which one it is.
    for network, row, form in (
        ('tf_efficientnet_b0', 'efficientnet-b0', "tf_efficientnet_b*, with TensorFlow's padding"),
        ('efficientnet_b0', 'efficientnet-b0-tv', 'efficientnet_b*'),
    ):
        translation = SOURCE.translate(state_of(network), row)
        assert translation.left_out == {}
        assert translation.notes == [f'timm has two EfficientNets with these entries; this row corresponds to {form}']
    assert SOURCE.translate(state_of('resnet18'), 'resnet18').notes == []


def test_other_networks_are_refused(state_of):
    for network, row in (('cspresnet50', 'darknet53-timm'), ('resnet18', 'vgg11'), ('resnet50d', 'resnet50-tv')):
        with pytest.raises(CheckpointError, match='keys of the file are unknown'):
            SOURCE.translate(state_of(network), row)
