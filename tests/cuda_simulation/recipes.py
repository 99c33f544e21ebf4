"""Narrow forms of the recipes, trained by ``mmcnn.train`` on drawn images, with a record of every batch."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import ValLoop

import mmcnn
from mmcnn.datasets.folders.shapes import make_shape_classes, make_shapes
from mmcnn.engine.resumable_train_loop import ResumableTrainLoop

from .records import Record
from .simulation import CudaSimulation

#: Side of the drawn images in pixels, batches per epoch and per validation. Only the last batch of each is measured,
#: because the first creates what later ones reuse.
SIZE, TRAIN_BATCHES, VAL_BATCHES = 64, 3, 2
_NARROW = {'model.widen_factor': 0.0625, 'model.deepen_factor': 0.33}
# The CPU also uses operators on lists of tensors, which sum in the same order as CUDA's.
_CLIPPED = {'optim_wrapper.clip_grad.foreach': True}
_COMMON = {
    'default_hooks.bn_statistics.windows': 0,
    'train_cfg.val_interval': 1,
    'optim_wrapper.optimizer.foreach': True,
    'performance.cpu_amp': False,  # the reference on the CPU is in float32
}
# Learning rates so low that three steps do not amplify rounding, which depends on PyTorch's choice of formulas in the
# backward pass. A narrow YOLOv4 amplifies it most.
_SLOW = {'optim_wrapper.optimizer.lr': 1e-3, 'custom_hooks.0.warmup_bias_lr': 1e-3}
_SLOWEST = {'optim_wrapper.optimizer.lr': 1e-5, 'custom_hooks.0.warmup_bias_lr': 1e-5}
_SCORES = {'model.test_cfg.score_thr': 0.0}  # otherwise narrow networks find nothing
PRECISIONS = {
    'fp32': {},
    'fp16': {'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.loss_scale': 'dynamic'},
    'bf16': {'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.dtype': 'bfloat16'},
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe in its narrow form: its config, the entries that make it narrow, and whether it is a classifier."""

    config: str
    options: Mapping[str, Any]
    is_classifier: bool = False


RECIPES = {
    'yolov3': Recipe(
        config='yolov3_darknet53',
        options={
            **_NARROW,
            **_CLIPPED,
            'model.backbone.init_cfg': None,
            'model.neck.out_channels': [32, 16, 8],
            'model.bbox_head.out_channels': [64, 32, 16],
            'model.test_cfg.score_thr': 0.0,
            'model.test_cfg.conf_thr': 0.0,
        },
    ),
    'yolov4': Recipe(config='yolov4_cspdarknet53', options={**_NARROW, **_SLOWEST, **_SCORES}),
    'yolov4_darknet': Recipe(config='yolov4_cspdarknet53_darknet', options={**_NARROW, **_CLIPPED, **_SCORES}),
    'yolov5': Recipe(config='yolov5_n', options={'model.widen_factor': 0.0625, **_SLOW, **_CLIPPED, **_SCORES}),
    'faster_rcnn': Recipe(
        config='faster_rcnn_resnet50_fpn',
        options={
            'model.backbone.init_cfg': None,
            'model.widen_factor': 0.125,
            'model.neck.out_channels': 16,
            'model.rpn_head.feat_channels': 16,
            'model.roi_head.bbox_head.fc_out_channels': 32,
            'model.test_cfg.rcnn.score_thr': 0.0,
        },
    ),
    'classifier': Recipe(
        config='classification/resnet50', options={'model.widen_factor': 0.125}, is_classifier=True
    ),
}  # fmt: skip


@dataclass
class Training:
    """The results of a training.

    Attributes:
        losses: the loss and its parts by name, for each iteration.
        metrics: the validation's.
        checkpoint: the last checkpoint.
        steps: the record of each iteration; empty on the CPU.
        predictions: the record of each batch of the validation, without the metric's.
        evaluations: the metric's record of each batch.
    """

    losses: list[dict[str, float]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    checkpoint: Path | None = None
    steps: list[Record] = field(default_factory=list)
    predictions: list[Record] = field(default_factory=list)
    evaluations: list[Record] = field(default_factory=list)


def draw_data(folder: Path, recipe: Recipe, batch_size: int) -> Path:
    """Draws the images for a training with this batch size."""
    make = make_shape_classes if recipe.is_classifier else make_shapes
    name = f'{"classes" if recipe.is_classifier else "shapes"}-{batch_size}'
    return make(folder / name, num_train=TRAIN_BATCHES * batch_size, num_val=VAL_BATCHES * batch_size, size=SIZE)


def train(
    recipe: Recipe,
    data: Path,
    work_dir: Path,
    *,
    precision: str = 'fp32',
    batch_size: int = 4,
    gpu: CudaSimulation | None = None,
    options: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Training:
    """Trains an epoch and validates.

    Args:
        recipe: one of :data:`RECIPES`.
        data: see :func:`draw_data`.
        work_dir: folder of the run.
        precision: a key of :data:`PRECISIONS`.
        batch_size: images per batch.
        gpu: an open simulation; None: the CPU.
        options: more entries of the config.
        kwargs: arguments of ``mmcnn.train``.
    """
    training = Training()
    losses = _Losses()
    with _recording(gpu, training, losses):
        result = mmcnn.train(
            recipe.config,
            **dict(data=data, work_dir=work_dir, device='cpu' if gpu is None else 'cuda', workers=0, epochs=1) | kwargs,
            img_size=SIZE,
            batch_size=batch_size,
            logger=['none'],
            cfg_options={**_COMMON, **recipe.options, **PRECISIONS[precision], **(options or {})},
        )
    training.losses = [{name: float(value) for name, value in each.items()} for each in losses.seen]
    training.metrics, training.checkpoint = dict(result.metrics), result.last
    return training


class _Losses(Hook):
    """Keeps the losses of each iteration without reading their values."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.seen.append(
            {name: getattr(value, 'detach', lambda value=value: value)() for name, value in outputs.items()}
        )


@contextlib.contextmanager
def _recording(gpu: CudaSimulation | None, training: Training, losses: _Losses):
    """Within the context every batch of a training is recorded, and no figures are drawn or configs formatted."""
    step, predict, evaluate = ResumableTrainLoop.run_iter, ValLoop.run_iter, Evaluator.process

    def run_step(loop, *args):
        if losses not in loop.runner.hooks:
            loop.runner.register_hook(losses, 'LOWEST')
        with _noted(gpu, training.steps):
            return step(loop, *args)

    def run_prediction(loop, *args):
        with _noted(gpu, training.predictions):
            return predict(loop, *args)

    def run_evaluation(evaluator, *args, **kwargs):
        with _noted(gpu, training.evaluations):
            return evaluate(evaluator, *args, **kwargs)

    with (
        patch.object(ResumableTrainLoop, 'run_iter', run_step),
        patch.object(ValLoop, 'run_iter', run_prediction),
        patch.object(Evaluator, 'process', run_evaluation),
        patch('mmcnn.runs.execution._leave_files', lambda *args: None),
        # Half of a run's time; the onedl fork has no such function.
        patch('mmengine.config.config.FormatCode', lambda text, **kwargs: (text, True), create=True),
    ):
        yield


@contextlib.contextmanager
def _noted(gpu: CudaSimulation | None, records: list[Record]):
    if gpu is None:
        yield
        return
    with gpu.recorded() as record:
        yield
    records.append(record)
