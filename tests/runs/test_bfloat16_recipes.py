"""Losses and gradients of every recipe in bfloat16 on the CPU, beside those in float32."""

from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from mmcnn.benchmarks.gpu import data
from mmcnn.benchmarks.gpu.layers import InputsOf, differences
from mmcnn.benchmarks.gpu.measurement import Circumstances
from mmcnn.benchmarks.gpu.parity import model_and_batch
from mmcnn.benchmarks.gpu.recipes import RECIPES
from mmcnn.compat.private_names import BatchNorm
from mmcnn.engine import BFloat16OptimWrapper
from mmcnn.runs.precision_hook import PrecisionHook
from mmcnn.runs.process_state import kept_process_state

CPU = torch.device('cpu')
#: All anchors and regions count, so that none is drawn, and regions of random weights are rounding.
ALL = {'model.train_cfg.rpn.sampler.num': 10**6, 'model.train_cfg.rcnn.sampler.num': 10**6}


@pytest.fixture(autouse=True)
def state():
    with kept_process_state():
        yield


@pytest.fixture(scope='module')
def circumstances(tmp_path_factory):
    folders = data.draw(tmp_path_factory.mktemp('drawn'), tiny=True)
    return Circumstances(device='cpu', tiny=True, folder=str(folders[0]), classes_folder=str(folders[1]), workers=0)


@pytest.mark.slow
@pytest.mark.parametrize('recipe', RECIPES)
def test_a_recipe_is_float32_within_the_rounding_of_bfloat16(circumstances, recipe):
    model, batch = model_and_batch(circumstances, recipe, ALL if recipe == 'faster_rcnn' else {})
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.eval()
    given = model.data_preprocessor(batch, True)
    wrapper = BFloat16OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    taken = []
    for module in model.modules():  # of every loss, the types that it is given
        if type(module).__name__ in MODELS.module_dict and type(module).__name__.endswith('Loss'):
            module.register_forward_pre_hook(
                lambda module, args: taken.extend(
                    each.dtype for each in args if isinstance(each, torch.Tensor) and each.is_floating_point()
                )
            )
    with InputsOf(model) as noted:
        exact, _ = model.parse_losses(model(**given, mode='loss'))
    assert {*taken} <= {torch.float32}
    PrecisionHook().before_train(SimpleNamespace(model=model, optim_wrapper=wrapper, cfg=Config()))
    with wrapper.optim_context(model):
        found, _ = model.parse_losses(model(**given, mode='loss'))
    found.backward()
    assert {*taken} <= {torch.float32} and found.dtype == torch.float32
    assert {each.grad.dtype for each in model.parameters() if each.grad is not None} == {torch.float32}
    layers = differences(
        model.double(), {name: each.double() for name, each in noted.inputs.items()}, CPU, torch.bfloat16
    )
    assert layers['layer_error'] <= layers['layer_bound']
    # A network of random weights enlarges what its first layers round; each adds its own, of 2^-8 at most.
    assert abs(found - exact).item() <= exact.item() * layers['layers'] * 2.0**-8
