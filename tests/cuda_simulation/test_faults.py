"""Faults that are planted in a training step or a prediction: each is found, and without them nothing is.

A fault replaces a method of mmcnn, where the real fault would be, by one that does more or less.
"""

import contextlib
import copy
import io

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import Tensor
from torch.utils._pytree import tree_flatten

from mmcnn.engine.step_guard import StepGuard
from mmcnn.models.data_preprocessors import PlanPreprocessor
from mmcnn.models.dense_heads import YOLOHead
from mmcnn.models.layers import ConvNormAct
from mmcnn.models.losses import YOLOMeanLoss
from mmcnn.models.task_modules import YOLOGridCoder
from mmcnn.runs.options import TrainOptions
from mmcnn.runs.prepare import prepare
from mmcnn.runs.process_state import kept_process_state
from tests.cuda_simulation.device import DeviceMixError
from tests.cuda_simulation.recipes import RECIPES, SIZE, draw_data

BATCH = 2


@pytest.fixture(scope='module')
def parts(tmp_path_factory):
    """A narrow YOLOv5 on the CPU, and batches: drawn by the workers, to be drawn by the device, and for validation."""
    recipe, folder = RECIPES['yolov5'], tmp_path_factory.mktemp('faults')
    options = TrainOptions(
        config=recipe.config,
        data=draw_data(folder, recipe, BATCH),
        work_dir=folder / 'run',
        device='cpu',
        img_size=SIZE,
        batch_size=BATCH,
        workers=0,
        cfg_options={**recipe.options, 'model.deepen_factor': 0.01},
    )
    with kept_process_state(), contextlib.redirect_stdout(io.StringIO()):
        cfg = prepare(options).cfg
        to_draw = copy.deepcopy(cfg.train_dataloader)
        to_draw.dataset.device_augmentation = True
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = MODELS.build(cfg.model)
            model.init_weights()
            loaders = cfg.train_dataloader, to_draw, cfg.val_dataloader
            batches = [next(iter(Runner.build_dataloader(each, seed=0))) for each in loaders]
    return model, *batches


@pytest.fixture
def step(parts, simulate):
    """``step(amp=None, draws=False)`` gives the records of a training step and of a prediction, and the step guard."""

    def run(amp=None, draws=False):
        model, drawn, to_draw, validation = parts
        with simulate() as gpu:
            model = copy.deepcopy(model).to('cuda')
            kwargs = dict(optimizer=torch.optim.SGD(model.parameters(), 1e-3), clip_grad=dict(max_norm=10.0))
            guard = StepGuard(OptimWrapper(**kwargs) if amp is None else AmpOptimWrapper(dtype=amp, **kwargs))
            with gpu.recorded() as record:
                outputs = model.train().train_step(copy.deepcopy(to_draw if draws else drawn), optim_wrapper=guard)
                guard.read(outputs)
            with gpu.recorded() as predicted:
                model.eval().val_step(copy.deepcopy(validation))
        return record, predicted, guard

    return run


@pytest.fixture(scope='module')
def clean():
    """The number of waits without a fault, filled in on first use."""
    return {}


def first_tensor(*values):
    return next(each for each in tree_flatten(values)[0] if isinstance(each, Tensor))


def after(method, change):
    """Wraps a method so that its result is changed."""

    def call(self, *args, **kwargs):
        return change(method(self, *args, **kwargs))

    return call


def before(method, act):
    """Wraps a method so that ``act`` gets its first tensor beforehand."""

    def call(self, *args, **kwargs):
        act(first_tensor(args, kwargs))
        return method(self, *args, **kwargs)

    return call


def of_losses(change):
    return lambda losses: {name: change(value) for name, value in losses.items()}


def pool(x):
    F.adaptive_avg_pool2d(x, 2).sum().backward()


#: Fault -> class, method, its replacement, arguments of ``step``, the error and its message.
ERRORS = {
    'loss: a tensor on the CPU': (
        YOLOMeanLoss, 'forward', lambda old: after(old, of_losses(lambda x: x + torch.ones(1))),
        {}, DeviceMixError, r'aten\.add\.Tensor got cuda:0 and cpu: \(1,\) float32, at .*yolo_head\.py',
    ),
    'loss: a target on the CPU': (
        YOLOMeanLoss, 'forward',
        lambda old: before(old, lambda x: F.mse_loss(x.flatten(), torch.zeros(x.numel()))),
        {}, DeviceMixError, 'mse_loss',
    ),
    'prediction: boxes times a tensor on the CPU': (
        YOLOGridCoder, 'decode', lambda old: after(old, lambda x: x * torch.ones(4)),
        {}, DeviceMixError, r'aten\.mul\.Tensor',
    ),
    'prediction: numpy of a tensor on the device': (
        YOLOHead, 'predict_by_feat', lambda old: before(old, lambda x: x.numpy()),
        {}, TypeError, r'Use Tensor\.cpu\(\)',
    ),
    'prediction: written into an array of the CPU': (
        YOLOHead, 'predict_by_feat', lambda old: before(old, lambda x: torch.zeros(x.shape).add_(x)),
        {}, DeviceMixError, r'aten\.add_\.Tensor',
    ),
    'data preprocessor: images stay on the CPU': (
        PlanPreprocessor, 'forward',
        lambda old: after(old, lambda data: dict(data, inputs=data['inputs'].cpu())),
        {}, DeviceMixError, 'convolution',
    ),
    'data preprocessor: an index of the CPU in what the device draws': (
        PlanPreprocessor, 'forward',
        lambda old: after(old, lambda data: data['inputs'].index_select(0, torch.arange(1)) and data),
        {'draws': True}, DeviceMixError, 'index_select',
    ),
    'layer: a tensor that is no buffer': (
        ConvNormAct, 'forward', lambda old: after(old, lambda x: x + torch.zeros(1, x.size(1), 1, 1)),
        {}, DeviceMixError, r'aten\.add\.Tensor',
    ),
    'mixed precision: cross entropy of probabilities': (
        YOLOMeanLoss, 'forward',
        lambda old: before(old, lambda x: F.binary_cross_entropy(x.sigmoid(), x.sigmoid())),
        {'amp': 'float16'}, RuntimeError, 'unsafe to autocast',
    ),
    'mixed precision: two types in a product': (
        YOLOGridCoder, 'decode', lambda old: after(old, lambda x: torch.mm(x.view(-1, 4), x.new_ones(4, 4).half())),
        {}, RuntimeError, 'same dtype',
    ),
    'mixed precision: another type is written': (
        YOLOGridCoder, 'decode',
        lambda old: after(old, lambda x: x.index_put_((x.new_zeros(1).long(),), x[:1].half())),
        {}, RuntimeError, 'dtypes? match',
    ),
    'step guard: numpy of the norm of the gradients': (
        StepGuard, 'update_params', lambda old: before(old, lambda loss: loss.detach().numpy()),
        {}, TypeError, r'Use Tensor\.cpu\(\)',
    ),
    'step guard: a stream that not every device has': (
        StepGuard, 'update_params', lambda old: before(old, lambda loss: torch.cuda.Stream()),
        {}, RuntimeError, r'Stream|CUDA|NVIDIA',
    ),
    'layer: no deterministic kernel': (
        ConvNormAct, 'forward', lambda old: after(old, lambda x: F.adaptive_avg_pool2d(x, x.shape[-2:])),
        {'deterministic': True}, RuntimeError, 'adaptive_avg_pool2d_backward_cuda does not have a deterministic',
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', ERRORS)
def test_a_fault_is_an_error(name, step, monkeypatch):
    cls, method, plant, kwargs, error, message = ERRORS[name]
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    deterministic = kwargs.get('deterministic', False)
    kwargs = {key: value for key, value in kwargs.items() if key != 'deterministic'}
    monkeypatch.setattr(cls, method, plant(getattr(cls, method)))
    torch.use_deterministic_algorithms(deterministic)
    try:
        with pytest.raises(error, match=message):
            step(**kwargs)
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize('kwargs', [{}, {'amp': 'float16'}, {'amp': 'bfloat16'}, {'draws': True}], ids=str)
def test_without_a_fault_there_is_none(kwargs, step):
    record, predicted, guard = step(**kwargs)
    assert not record.faults and not predicted.faults and guard.stepped


#: Fault -> class, method, its replacement, and the least number of additional waits in the step and the prediction.
WAITS = {
    'loss: a number is read': (
        YOLOMeanLoss, 'forward', lambda old: before(old, lambda x: x.sum().item()), (1, 0),
    ),
    'layer: a number is read in each convolution': (
        ConvNormAct, 'forward', lambda old: before(old, lambda x: float(x.detach().flatten()[0])), (50, 50),
    ),
    'prediction: boxes by a mask': (
        YOLOHead, 'predict_by_feat', lambda old: before(old, lambda x: x[x > 0]), (0, 1),
    ),
    'prediction: a limit is made anew': (
        YOLOHead, 'predict_by_feat', lambda old: before(old, lambda x: x.new_tensor([1.0, 2.0])), (0, 1),
    ),
    'data preprocessor: channels by a list': (
        PlanPreprocessor, 'forward',
        lambda old: after(old, lambda data: dict(data, inputs=data['inputs'][:, [2, 1, 0]])), (1, 1),
    ),
    'step guard: the loss is printed': (
        StepGuard, 'update_params', lambda old: before(old, lambda loss: f'{loss.detach():.3f}'), (1, 0),
    ),
    'step guard: the device is waited for': (
        StepGuard, 'update_params', lambda old: before(old, lambda loss: torch.cuda.synchronize()), (1, 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', WAITS)
def test_a_fault_is_a_wait(name, step, clean, monkeypatch):
    cls, method, plant, more = WAITS[name]
    if not clean:
        clean.update(zip(('step', 'prediction'), (record.waits.total() for record in step()[:2]), strict=True))
    monkeypatch.setattr(cls, method, plant(getattr(cls, method)))
    faulty = [record.waits.total() for record in step()[:2]]
    found = tuple(ours - theirs for ours, theirs in zip(faulty, clean.values(), strict=True))
    assert all(number >= least > 0 or number == least == 0 for number, least in zip(found, more, strict=True)), found


def test_a_sum_that_overflows_in_half_precision(step, monkeypatch):
    """The loss is infinite, as on a real device, and the step guard refuses it."""
    monkeypatch.setattr(YOLOMeanLoss, 'forward', after(YOLOMeanLoss.forward, of_losses(lambda x: x.half() * 6e4 * 1e3)))
    _, _, guard = step(amp='float16')
    assert guard.refused == 'loss'


def test_memory_that_is_not_pinned_is_noted(step, monkeypatch):
    """A non-blocking copy may wait nevertheless."""
    clean = step()[0].pageable.total()
    planted = before(StepGuard.update_params, lambda loss: torch.ones(1).to(loss.device, non_blocking=True))
    monkeypatch.setattr(StepGuard, 'update_params', planted)
    assert step()[0].pageable.total() == clean + 1
