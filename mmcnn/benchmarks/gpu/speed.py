"""Stage 4: images per second of a training, memory, waiting, kernels and waits for the device."""

from __future__ import annotations

import gc
import tempfile
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from mmcnn.benchmarks.gpu import measured_loop
from mmcnn.benchmarks.gpu.measurement import Circumstances, Report, Timer
from mmcnn.benchmarks.gpu.recipes import RECIPES, batch_size_of, complete_config
from mmcnn.config.load import dicts_in
from mmcnn.runs.performance import PerformanceHook, use_tf32
from mmcnn.runs.process_state import kept_process_state

#: How often the batch size is halved if it does not fit.
HALVINGS = 3


def measure(
    circumstances: Circumstances,
    timer: Timer,
    report: Report,
    *,
    recipe: str,
    precision: str = 'fp32',
    channels_last: bool = False,
    compiled: bool = False,
    on_device: bool = False,
    deterministic: bool = False,
    with_loader: bool = True,
) -> None:
    """Time a training (:class:`~.measured_loop.MeasuredTrainLoop`).

    Args:
        circumstances: data and device.
        timer: time limit in seconds.
        report: takes the values.
        recipe: a key of :data:`~.recipes.RECIPES`.
        precision: 'fp32', which is PyTorch's default (TF32 in convolutions), 'bf16' or 'fp16'.
        channels_last: memory format of the network.
        compiled: compile backbone and neck by ``torch.compile``.
        on_device: draw the mosaics on the device.
        deterministic: use ``randomness.deterministic``.
        with_loader: also time the loader.

    Raises:
        UsageError: mixed precision on a CPU.
    """
    chosen = RECIPES[recipe]
    options: dict[str, Any] = {'randomness.deterministic': deterministic}
    if on_device:
        options['train_dataloader.dataset.device_augmentation'] = True
    batch_size = batch_size_of(chosen, circumstances)
    timer = circumstances.timer_of_speed(timer)
    report(size=chosen.size, note=chosen.note, workers=circumstances.workers)

    def prepared(model: nn.Module) -> None:
        for part in ('backbone', 'neck') if compiled else ():
            if getattr(model, part, None) is not None:
                getattr(model, part).compile()

    for halving in range(HALVINGS + 1):
        report(batch_size=batch_size)
        try:
            with tempfile.TemporaryDirectory() as folder, kept_process_state():
                cfg = complete_config(
                    chosen, circumstances, folder, batch_size=batch_size, options=options,
                    amp=precision != 'fp32' and precision, channels_last=channels_last,
                )  # fmt: skip
                _for_measuring(cfg, circumstances)
                use_tf32(cfg)
                runner = Runner.from_cfg(cfg)
                runner.register_hook(PerformanceHook())
                runner.train_loop.measure(timer, report, prepared, with_loader)
                runner.train()
            return
        except torch.OutOfMemoryError:
            if halving == HALVINGS or batch_size == 1:
                raise
            report(did_not_fit=batch_size)
            batch_size //= 2
        runner = None  # with everything on the device
        gc.collect()
        torch.cuda.empty_cache()


def _for_measuring(cfg: Config, circumstances: Circumstances) -> None:
    """Replace the config's loop by the measuring one, and remove everything unrelated to a step."""
    cfg.train_cfg = dict(type=f'mmcnn.{measured_loop.MeasuredTrainLoop.__name__}', max_epochs=cfg.train_cfg.max_epochs)
    for name in ('val', 'test'):
        cfg[f'{name}_cfg'] = cfg[f'{name}_dataloader'] = cfg[f'{name}_evaluator'] = None
    cfg.default_hooks.checkpoint = None
    cfg.default_hooks.pop('bn_statistics', None)
    cfg.visualizer = dict(type='Visualizer', vis_backends=[])
    for node in dicts_in(cfg.train_dataloader):
        if node.get('type') == 'RandomResize':
            node.scale = [node.scale[-1]] * 2
        if 'cache_gb' in node:
            node.cache_gb = circumstances.cache_gb
