import time
from types import SimpleNamespace

import pytest
import torch

import mmcnn
from mmcnn.errors import CheckpointError
from mmcnn.models.classifiers import list_classifiers
from mmcnn.models.families import list_backbones
from mmcnn.weights.likeliest import likeliest

#: Variants whose tensors have the same shapes, so that no file tells them apart.
ALIKE = [
    *({name, f'{name}-tv'} for name in ('mobilenetv2', 'mobilenetv3-large', 'mobilenetv3-small')),
    *({f'densenet{depth}', f'densenet{depth}-tv'} for depth in (121, 169, 201)),
    *({f'efficientnet-b{i}', f'efficientnet-b{i}-tv'} for i in range(8)),
    *({name, f'{name}-timm'} for name in ('cspdarknet53', 'darknet53', 'xception')),
    {'inception-resnet', 'inceptionv4'},
]
FAST = [
    'vovnet39',
    'resnet18',
    'resnet50-tv',
    'efficientnet-b0',
    'vgg11',
    'cspdarknet-s',
    'mobilenetv2',
    'resnext50-32x4d',
]


def file(state):
    """Return a stand-in for an opened file with these tensors."""
    return SimpleNamespace(tree=None, state_dict=dict(state), format='pytorch', path='x.pth')


def own_states(name):
    with torch.device('meta'):
        yield mmcnn.build_backbone(name).state_dict()
        if name in list_classifiers():
            yield mmcnn.build_classifier(name, 7).state_dict()


@pytest.mark.parametrize(
    'name', [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in list_backbones()]
)
def test_every_row_is_known_by_its_own_tensors(name):
    expected = next((pair for pair in ALIKE if name in pair), {name})
    for state in own_states(name):
        start = time.perf_counter()
        assert set(likeliest(file(state))) == expected
        assert time.perf_counter() - start < 10  # measured: 0.1 to 1.7 s


def test_names_and_layouts_do_not_matter_but_have_to_be_some_librarys(torchvision):
    with torch.device('meta'):
        state = torchvision.models.efficientnet_b0(weights=None).state_dict()
        wrapped = {f'net.{key}': value for key, value in state.items()}
        unknown = {f'{i}.{key.rpartition(".")[2]}': value for i, (key, value) in enumerate(state.items())}
    # efficientnet-b0 has the same shapes but pads differently: torchvision's file is only of the one variant.
    assert likeliest(file(state)) == likeliest(file(wrapped)) == ['efficientnet-b0-tv']
    assert likeliest(file(unknown)) == []  # the same shapes, but under names that no variant has


def test_a_network_that_cannot_hold_the_file_is_never_named():
    state = next(own_states('resnet18'))
    for other in (
        {**state, 'stage1.blocks.0.se.weight': torch.empty(4, 4, device='meta')},
        {key: value for key, value in state.items() if not key.startswith('stage4.')},
        {**state, 'stem.conv.weight': torch.empty(64, 3, 3, 3, device='meta')},
        dict(list(state.items())[:20]),
        {},
    ):
        assert likeliest(file(other)) == []


def test_a_refused_yolov5_file_is_named_by_its_config(yolov5, tmp_path):
    path = tmp_path / 'yolov5n.pt'
    yolov5.save(yolov5.model('n', focus=False, nc=7), path)
    with pytest.raises(CheckpointError) as error:
        mmcnn.load_weights(mmcnn.build_backbone('resnet18'), path)
    assert str(error.value).endswith('; the file looks like yolov5_n or yolov5_n_small')


def test_a_row_of_another_form_is_told_which_rows_hold_the_file(torchvision, tmp_path):
    path = tmp_path / 'b0.pth'
    torch.save(torchvision.models.efficientnet_b0(weights=None).state_dict(), path)
    with pytest.raises(CheckpointError) as error:
        mmcnn.load_weights(mmcnn.build_backbone('efficientnet-b0'), path)
    assert str(error.value) == (
        f"{path}: torchvision's network has padding=None, but efficientnet-b0 has 'same' and would give wrong results "
        'with its weights; they fit efficientnet-b0-tv'
    )
