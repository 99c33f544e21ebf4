"""Losses and gradients of every recipe in bfloat16 on the CPU, compared with float32."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from torch import nn

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
#: All anchors and regions are used, so that there is no random sampling: regions of random weights depend on rounding.
ALL = {'model.train_cfg.rpn.sampler.num': 10**6, 'model.train_cfg.rcnn.sampler.num': 10**6}


@pytest.fixture(autouse=True)
def state():
    with kept_process_state():
        yield


@pytest.fixture(scope='module')
def circumstances(tmp_path_factory):
    folders = data.draw(tmp_path_factory.mktemp('drawn'), tiny=True)
    return Circumstances(device='cpu', tiny=True, folder=str(folders[0]), classes_folder=str(folders[1]), workers=0)


def rounded(found):
    """Return float32 tensors rounded to the precision of bfloat16."""
    if isinstance(found, torch.Tensor):
        return found.bfloat16().float() if found.is_floating_point() else found
    return type(found)(rounded(each) for each in found) if type(found) in (list, tuple) else found


def rounding(model):
    """Return a float32 copy whose weights and outputs, except losses, are rounded to bfloat16."""
    model = copy.deepcopy(model)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            for parameter in module.parameters():
                parameter.data = rounded(parameter.data)
            module.register_forward_pre_hook(lambda module, args: rounded(args))
        if name and not type(module).__name__.endswith('Loss'):
            module.register_forward_hook(lambda module, args, found: rounded(found))
    return model


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
    for module in model.modules():  # the types of the inputs of every loss
        if type(module).__name__ in MODELS.module_dict and type(module).__name__.endswith('Loss'):
            module.register_forward_pre_hook(
                lambda module, args: taken.extend(
                    each.dtype for each in args if isinstance(each, torch.Tensor) and each.is_floating_point()
                )
            )
    with InputsOf(model) as noted:
        exact, _ = model.parse_losses(model(**given, mode='loss'))
    assert {*taken} <= {torch.float32}
    expected, _ = model.parse_losses(rounding(model)(**given, mode='loss'))
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
    # A network with random weights amplifies the rounding errors of its first layers, YOLOv4 six hundred times, so the
    # expected value comes from float32 that is rounded in the same places.
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    assert found.item() != exact.item()
