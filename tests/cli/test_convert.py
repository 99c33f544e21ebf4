"""mmcnn convert on the command line."""

import pytest
import torch

import mmcnn
from mmcnn.errors import CheckpointError, UsageError


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp('source') / 'x.pth'
    torch.save(mmcnn.build_classifier('mobilenet').state_dict(), path)
    return path


def test_converts_and_says_what_it_did(run_command, source, tmp_path):
    result = run_command('convert', source, tmp_path / 'y.safetensors', '--model', 'mobilenet')
    assert result.code == 0
    assert '137 entries loaded' in result.out and 'activation ReLU6' in result.out
    assert [path.name for path in tmp_path.iterdir()] == ['y.safetensors']


@pytest.mark.parametrize(
    ('args', 'error', 'message'),
    [
        (['SRC', 'y.pth'], UsageError, r'--model is missing; use mmcnn convert SRC DST --model NAME, or --list'),
        (
            ['SRC', '--model', 'mobilenet'],
            UsageError,
            'DST is missing; use mmcnn convert SRC DST --model NAME, or --list',
        ),
        ([], UsageError, 'SRC is missing; '),
        (['SRC', 'y.weights', '--model', 'mobilenet'], UsageError, r'y\.weights is a Darknet file; add --export'),
        (['SRC', 'y.pth', '--model', 'mobilenet', '--num-classes', '0'], UsageError, '--num-classes 0: .* at least 1'),
        (['--list', 'vgg16'], UsageError, "'vgg16': with --list, give the name of a network as --model vgg16"),
        (['gone.pth', 'y.pth', '--model', 'vgg16'], CheckpointError, r'gone\.pth does not exist'),
        (['SRC', 'y.pth', '--model', 'vgg16'], CheckpointError, '.*the file looks like mobilenet'),
        (['SRC', 'y.pth', '--model', 'mobilenet', '--from', 'kera'], CheckpointError, "unknown source='kera'; did"),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else '',
)
def test_refuses_in_one_sentence(run_command, source, args, error, message, tmp_path):
    with pytest.raises(error, match=rf'^{message}[^\n]*$'):
        run_command('convert', *(source if arg == 'SRC' else arg for arg in args), cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_lists_published_weights(run_command):
    result = run_command('convert', '--list', '--model', 'darknet53')
    assert result.code == 0
    assert 'darknet53.conv.74' in result.out and 'resnet' not in result.out
