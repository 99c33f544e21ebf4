"""The modules that commands import; seconds depend on the machine, so `mmcnn benchmark start` measures them."""

import subprocess
import sys

import numpy as np
import pytest

from mmcnn.benchmarks.loading import write_checkpoint
from mmcnn.benchmarks.options import NetworkOptions
from mmcnn.benchmarks.wired import wired_config
from mmcnn.inference.images import write_image
from mmcnn.models.wiring import set_num_classes

CONFIG = 'yolov4_cspdarknet53_narrow'
#: Needed neither for detection nor at the start of a training.
NEITHER = ('matplotlib.pyplot', 'scipy', 'sklearn', 'tensorboard', 'timm', 'pandas', 'onnx')
#: Not needed for detection; a training needs them because PyTorch's optimizers import its compiler, and MMEngine's
#: visualizer creates a figure.
TRAINING = ('matplotlib.figure', 'sympy', 'torch._dynamo', 'torch._inductor', 'torch.distributed.fsdp', 'torch.onnx')
RUN = """
import os, sys

from mmcnn.cli.main import main
from mmengine.optim import OptimWrapper


def end(*args, **kwargs):
    print('imported', [name for name in {names!r} if name in sys.modules], flush=True)
    os._exit(0)


OptimWrapper.step = end
main({arguments!r})
end()
"""


def imported(names: tuple[str, ...], arguments: list[str]) -> str:
    """Return which of these modules a command has imported at its first optimizer step or at its end."""
    program = RUN.format(names=names, arguments=arguments)
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_a_detection_imports_no_compiler_and_no_figures(tmp_path):
    cfg = wired_config(NetworkOptions(config=CONFIG))
    set_num_classes(cfg.model, 2)
    write_checkpoint(cfg, tmp_path / 'x.pth')
    write_image(tmp_path / 'x.png', np.zeros((64, 64, 3), np.uint8))
    arguments = ['infer', str(tmp_path / 'x.pth'), str(tmp_path / 'x.png'), '--out', str(tmp_path / 'found')]
    assert imported((*NEITHER, *TRAINING), arguments) == 'imported []'
    assert (tmp_path / 'found' / 'x.png').exists()


@pytest.mark.slow
def test_a_training_comes_to_its_first_step_without_what_only_its_end_needs(tmp_path):
    arguments = [
        'train',
        CONFIG,
        '--data',
        'demo',
        '--epochs',
        '1',
        '--img-size',
        '160',
        '--workers',
        '0',
        '--logger',
        'none',
    ]
    assert imported(NEITHER, [*arguments, '--work-dir', str(tmp_path / 'run')]) == 'imported []'
