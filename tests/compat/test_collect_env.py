"""A torchvision that does not match the installed torch must not end a run."""

import subprocess
import sys

import mmengine.utils.dl_utils as dl_utils
import pytest

import mmcnn.compat
from mmcnn.compat import collect_env


@pytest.fixture
def broken_torchvision(tmp_path):
    """A folder for the path with a torchvision that fails like PyPI's with a CPU torch."""
    package = tmp_path / 'torchvision'
    package.mkdir()
    (package / '__init__.py').write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    return tmp_path


@pytest.mark.parametrize('first', ['mmcnn', pytest.param('mmengine.runner', marks=pytest.mark.slow)])
def test_environment_is_collected_beside_a_broken_torchvision(broken_torchvision, first):
    code = (
        f'import {first}, mmcnn, mmengine.runner.runner as runner; '
        "env = runner.collect_env(); assert 'PyTorch' in env and 'TorchVision' not in env; print('survived')"
    )
    run = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, env={'PYTHONPATH': str(broken_torchvision)}
    )
    assert run.stdout.strip().endswith('survived'), run.stderr


def test_repeating_it_changes_nothing():
    mmcnn.compat.apply()
    once = dl_utils.collect_env
    collect_env.install()
    assert dl_utils.collect_env is once
