"""Stage 1: losses and gradients of a recipe on the device, compared with those of the CPU in float64.

How far float32 may be from float64 depends on the network: a hundred layers amplify the rounding of the first one. So
the bound is measured: the difference of the CPU's own float32 with the same weights and images, times :data:`FACTOR`,
since other kernels sum in another order and cuDNN's Winograd transforms lose about a digit. The losses of mixed
precision are compared with the CPU's autocast to bfloat16 in the same way; float16 has three more bits and must not be
worse.

The gradient is compared with BatchNorm's statistics fixed, since it is not meaningful through those of a small batch.
Losses are also compared with the statistics of the batch (``batch_fp32``). Mixed precision is compared layer by layer
(:mod:`~.layers`).
"""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.logging import MessageHub
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import Tensor, nn

from mmcnn.benchmarks.gpu.layers import InputsOf, differences
from mmcnn.benchmarks.gpu.measurement import Circumstances, Report, Timer
from mmcnn.benchmarks.gpu.recipes import RECIPES, TINY_SIZE, complete_config
from mmcnn.compat.private_names import BatchNorm
from mmcnn.engine.random_state import seed_from
from mmcnn.silence import silenced

#: Side of the images in pixels, and number of images.
SIZE, IMAGES = 128, 2
#: How much farther from float64 the device may be than the CPU in the same precision.
FACTOR = 10.0
#: Relative difference that is ignored: the rounding of one float32.
LEAST = 2.0**-23
_CPU = torch.device('cpu')
_PRECISIONS = {'fp32': None, 'bf16': torch.bfloat16, 'fp16': torch.float16}
#: So that all anchors and regions count, and none is sampled.
_ALL = {
    'faster_rcnn': {'model.train_cfg.rpn.sampler.num': 10**6, 'model.train_cfg.rcnn.sampler.num': 10**6},
}


def measure(circumstances: Circumstances, timer: Timer, report: Report, *, recipe: str) -> None:
    """Compare; ``passed`` says whether all precisions are within their bounds.

    Args:
        circumstances: data and device.
        timer: not used.
        report: takes the values: ``loss_error`` and ``gradient_error`` are relative to the loss and to the norm of the
            whole gradient, ``gradient_worst`` is the parameter whose gradient differs most, relative to that norm; for
            the others see :func:`~.layers.differences`.
        recipe: a key of :data:`~.recipes.RECIPES`.
    """
    device = torch.device(circumstances.device)
    model, batch = model_and_batch(circumstances, recipe, _ALL.get(recipe, {}))
    proposals = _Proposals()
    passed = []
    for prefix, fixed, precisions in (('', True, _PRECISIONS), ('batch_', False, {'fp32': None})):
        ours = _prepared(model, _CPU, torch.float64, proposals, fixed)
        with InputsOf(ours) as noted:
            reference = _run(ours, batch, None)
        of_cpu: dict[str, Any] = {}
        for name, half in precisions.items():
            if name != 'fp16':  # few CPUs compute in it: it is compared with bfloat16
                on_cpu = _run(_prepared(model, _CPU, torch.float32, proposals, fixed), batch, half)
                of_cpu = _difference(reference, on_cpu)
                report(**{f'{prefix}cpu_{name}': of_cpu})
            found = _difference(reference, _run(_prepared(model, device, torch.float32, proposals, fixed), batch, half))
            for key in ('loss_error', 'gradient_error') if fixed and half is None else ('loss_error',):
                found[f'{key}_bound'] = FACTOR * max(of_cpu[key], LEAST)
            if fixed:
                with _exact():
                    found |= differences(ours, noted.inputs, device, half)
            found['passed'] = all(
                found[key] <= found[bound]
                for key, bound in (
                    ('loss_error', 'loss_error_bound'),
                    ('gradient_error', 'gradient_error_bound'),
                    ('layer_error', 'layer_bound'),
                )
                if bound in found
            )
            passed.append(found['passed'])
            report(**{prefix + name: found})
    report(passed=all(passed))


def model_and_batch(circumstances: Circumstances, recipe: str, options: Mapping[str, Any]) -> tuple[nn.Module, dict]:
    """Return a recipe's model on the CPU with weights that follow from a seed, and a batch of its training data.

    Args:
        circumstances: the data.
        recipe: a key of :data:`~.recipes.RECIPES`.
        options: more entries of its config.
    """
    size = TINY_SIZE if circumstances.tiny else SIZE
    with tempfile.TemporaryDirectory() as folder:
        cfg = complete_config(
            RECIPES[recipe], circumstances, folder, batch_size=IMAGES, img_size=size, workers=0,
            options=options,
        )  # fmt: skip
        seed_from(0)
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = MODELS.build(cfg.model)
            with silenced():  # MMEngine logs each tensor
                model.init_weights()
            MessageHub.get_current_instance().update_info('iter', 0)  # BatchSyncRandomResize needs it
            batch = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
    _measure_statistics(model, batch)
    return model, batch


@torch.no_grad()
def _measure_statistics(model: nn.Module, batch: dict) -> None:
    """Set the statistics of all BatchNorms to those of the batch."""
    norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    model(**model.data_preprocessor(copy.deepcopy(batch), True), mode='loss')
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


class _Proposals:
    """The regions of a two-stage detector, found once.

    With random weights all regions have nearly equal scores, so rounding decides which are used. All runs use those of
    the first, so that the comparison is of the same quantities.
    """

    def __init__(self) -> None:
        self._found: list | None = None

    def keep_in(self, model: nn.Module) -> None:
        """Make a model use the regions of the first one."""
        if not hasattr(model, 'rpn_head'):
            return
        find = model.rpn_head.predict_by_feat

        def predict_by_feat(*args: Any, **kwargs: Any) -> list:
            if self._found is None:
                self._found = [each.cpu() for each in find(*args, **kwargs)]
            weight = next(model.parameters())
            regions = [each.to(weight.device) for each in self._found]
            for each in regions:
                each.bboxes = each.bboxes.to(weight.dtype)
            return regions

        model.rpn_head.predict_by_feat = predict_by_feat


def _prepared(
    model: nn.Module, device: torch.device, dtype: torch.dtype, proposals: _Proposals, fixed: bool
) -> nn.Module:
    """Return a copy for training; ``fixed``: with the current statistics of BatchNorm."""
    model = copy.deepcopy(model).to(device, dtype).train()
    for module in model.modules() if fixed else ():
        if isinstance(module, BatchNorm):
            module.eval()
    proposals.keep_in(model)
    _targets_as_predictions(model)
    return model


def _targets_as_predictions(model: nn.Module) -> None:
    """Give every loss its targets and weights in the type of its predictions.

    MMDetection's YOLOv3 creates them in float32 in any precision, and not every kernel supports two types.
    """
    for module in model.modules():
        if type(module).__name__ in MODELS.module_dict and type(module).__name__.endswith('Loss'):
            module.register_forward_pre_hook(_in_one_type, with_kwargs=True)


def _in_one_type(loss: nn.Module, given: tuple, keywords: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
    if not given or not isinstance(given[0], Tensor) or given[0].dtype != torch.float64:
        return None

    def cast(value: Any) -> Any:
        return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value

    return tuple(map(cast, given)), {name: cast(value) for name, value in keywords.items()}


def _run(model: nn.Module, batch: dict, half: torch.dtype | None) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Return losses by name, 'loss' is their sum, and gradients by parameter, in float64 on the CPU."""
    weight = next(model.parameters())
    data = model.data_preprocessor(copy.deepcopy(batch), True)
    data['inputs'] = data['inputs'].to(weight.dtype)
    torch.manual_seed(0)
    with _exact():
        with torch.autocast(weight.device.type, half, enabled=half is not None):
            loss, losses = model.parse_losses(model(**data, mode='loss'))
        loss.backward()
    gradients = {
        name: parameter.grad.detach().cpu().double()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    model.zero_grad()
    return {name: float(value.detach()) for name, value in losses.items() if 'loss' in name}, gradients


def _difference(
    reference: tuple[dict[str, float], dict[str, Tensor]], found: tuple[dict[str, float], dict[str, Tensor]]
) -> dict[str, Any]:
    (losses, gradients), (other_losses, other_gradients) = reference, found
    if gradients.keys() != other_gradients.keys():
        missing = ', '.join(sorted(gradients.keys() ^ other_gradients.keys())[:3])
        raise RuntimeError(f'different parameters have gradients: {missing}')
    squares = {name: float((other_gradients[name] - each).square().sum()) for name, each in gradients.items()}
    norm = sum(float(each.square().sum()) for each in gradients.values()) ** 0.5
    worst = max(squares, key=squares.get)
    return dict(
        loss_error=max(abs(other_losses[name] - each) for name, each in losses.items()) / abs(losses['loss']),
        gradient_error=sum(squares.values()) ** 0.5 / norm,
        gradient_worst=[worst, squares[worst] ** 0.5 / norm],
    )


@contextlib.contextmanager
def _exact() -> Iterator[None]:
    """Disable TF32."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
