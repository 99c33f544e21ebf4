"""Run by hand with a CUDA build of PyTorch, which needs no GPU: ``pytest -m campaign tests/cuda_simulation``.

In such a build torchvision's operators are registered, and the library has the names of nondeterministic operators.
"""

from pathlib import Path

import pytest
import torch

from mmcnn.ops import torchvision_op
from tests.cuda_simulation.operators import NONDETERMINISTIC
from tests.cuda_simulation.recipes import PRECISIONS, RECIPES, TRAIN_BATCHES, draw_data, train

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.skipif(torch.version.cuda is None, reason=f'PyTorch {torch.__version__} is not a CUDA build'),
]


@pytest.mark.parametrize(
    'name', ['nms', 'roi_align', '_roi_align_backward', 'deform_conv2d', '_deform_conv2d_backward']
)
def test_operators_of_torchvision_are_registered(name):
    assert torchvision_op(name, 'cuda') is not None


@pytest.mark.parametrize('operator', NONDETERMINISTIC)
def test_the_library_has_the_name(operator):
    import torchvision

    name = NONDETERMINISTIC[operator].encode()
    if operator.startswith('torchvision::'):
        libraries = list(Path(torchvision.__file__).parent.glob('_C*'))
    else:
        libraries = [*(Path(torch.__file__).parent / 'lib').glob('libtorch_c*.so')]
    assert libraries and any(name in path.read_bytes() for path in libraries)


@pytest.mark.parametrize('precision', PRECISIONS)
@pytest.mark.parametrize('name', RECIPES)
def test_a_training(name, precision, simulate, tmp_path):
    recipe = RECIPES[name]
    data = draw_data(tmp_path, recipe, 4)
    with simulate() as gpu:
        training = train(recipe, data, tmp_path / 'run', precision=precision, gpu=gpu)
    assert len(training.losses) == TRAIN_BATCHES and not gpu.record.faults
    waits = [training.steps[-1].waits.total(), training.predictions[-1].waits.total()]
    print(f'{name} {precision}: loss {training.losses[-1]["loss"]:.6g}, waits {waits}, kernels '
          f'{training.steps[-1].kernels.total()}')  # fmt: skip
