"""tools/convert_weights.py as a user meets it."""

import torch

import mmcnn


def test_converts_and_says_what_it_did(run_tool, tmp_path):
    torch.save(mmcnn.build_classifier('mobilenet').state_dict(), tmp_path / 'x.pth')
    result = run_tool('convert_weights', tmp_path / 'x.pth', tmp_path / 'y.safetensors', '--model', 'mobilenet')
    assert result.code == 0, result.err
    assert '137 entries loaded' in result.out and 'activation ReLU6' in result.out
    assert (tmp_path / 'y.safetensors').is_file()


def test_refuses_in_one_sentence(run_tool, tmp_path):
    torch.save(mmcnn.build_backbone('mobilenet').state_dict(), tmp_path / 'x.pth')
    for arguments, message in (
        ([tmp_path / 'x.pth', tmp_path / 'y.pth'], '--model is missing'),
        ([tmp_path / 'x.pth', '--model', 'mobilenet'], 'DST is missing'),
        ([tmp_path / 'x.pth', tmp_path / 'y.weights', '--model', 'mobilenet'], 'is a Darknet file: say --export'),
        ([tmp_path / 'gone.pth', tmp_path / 'y.pth', '--model', 'vgg16'], 'gone.pth does not exist'),
        ([tmp_path / 'x.pth', tmp_path / 'y.pth', '--model', 'vgg16'], 'the file looks like mobilenet'),
    ):
        result = run_tool('convert_weights', *arguments)
        assert result.code == 1 and message in result.err, result.err
        assert result.err.startswith('error: ') and result.err.count('\n') == 1
    assert [path.name for path in tmp_path.iterdir()] == ['x.pth']


def test_lists_published_weights(run_tool):
    result = run_tool('convert_weights', '--list', '--model', 'darknet53')
    assert result.code == 0, result.err
    assert 'darknet53.conv.74' in result.out and 'resnet' not in result.out
