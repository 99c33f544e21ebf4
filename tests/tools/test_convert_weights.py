"""tools/convert_weights.py runs mmcnn convert, which tests/cli/test_convert.py tests."""

import torch

import mmcnn


def test_converts_and_says_what_it_did(run_tool, tmp_path):
    torch.save(mmcnn.build_classifier('mobilenet').state_dict(), tmp_path / 'x.pth')
    result = run_tool('convert_weights', tmp_path / 'x.pth', tmp_path / 'y.safetensors', '--model', 'mobilenet')
    assert result.code == 0, result.err
    assert '137 entries loaded' in result.out and 'activation ReLU6' in result.out
    assert (tmp_path / 'y.safetensors').is_file()


def test_errors_are_one_sentence(run_tool):
    result = run_tool('convert_weights', 'gone.pth', 'y.pth', '--model', 'vgg16')
    assert result.code == 1
    assert result.err.startswith('error: gone.pth does not exist') and result.err.count('\n') == 1
