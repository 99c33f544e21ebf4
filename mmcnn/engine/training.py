"""A training or a test run from a finished config, with the pictures that it leaves."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner, find_latest_checkpoint
from torch import nn

import mmcnn
from mmcnn.detector import Detector, read_image
from mmcnn.models.classifiers import Classifier
from mmcnn.models.fuse import fuse
from mmcnn.visualization import draw_boxes, plot_curves, prediction_grid
from mmcnn.weights.checkpoint import read_checkpoint, state_dict_of
from mmcnn.weights.loading import load_state, load_weights
from mmcnn.weights.whole_file import check_writable

#: The number that a run ends with, and where the metrics have it.
RESULTS = {'AP50': 'coco/bbox_mAP_50', 'top-1': 'accuracy/top1'}
#: Held-out images in the picture grid.
GRID_IMAGES = 8


def train(cfg: Config, summary: str = '', allow_head_mismatch: bool = False) -> dict[str, float]:
    """Trains, and leaves ``curves.png`` and, of a detector, ``predictions.png`` beside the checkpoints in the work dir.

    Args:
        cfg: a complete, wired config.
        summary: a line for the log.
        allow_head_mismatch: in a run that is not resumed the layers of ``load_from`` whose shape follows the number of
            classes may have other shapes; the model's start anew.

    Returns:
        the last validation's numbers.

    Raises:
        CheckpointError: ``load_from`` does not fit the model, or the work dir cannot be written to.
        DataError, TrainingError, SystemExit: See :class:`~mmcnn.engine.loops.ResumableTrainLoop`.
    """
    check_writable(cfg.work_dir)
    _join_ranks(cfg)
    initial, resumes = cfg.get('load_from'), cfg.get('resume')
    if not resumes:
        cfg.load_from = None  # loaded by a hook
    runner = Runner.from_cfg(cfg)
    total, trainable = mmcnn.count_parameters(_unwrapped(runner.model))
    print_log(f'{total:,} parameters, {trainable:,} of them trainable; {summary}', logger='current')
    if initial and resumes:
        # A check: the Runner, which loads it once more with its state, would say nothing of what does not fit.
        load_state(_unwrapped(runner.model), state_dict_of(read_checkpoint(initial)), source=initial)
    elif initial:
        runner.register_hook(_InitialWeights(initial, allow_head_mismatch))
    runner.train()

    scalars = runner.message_hub.log_scalars
    kinds = ('val/coco/', 'val/accuracy/')
    metrics = {k.removeprefix('val/'): v.current() for k, v in scalars.items() if k.startswith(kinds)}
    if is_main_process():
        plot_curves(runner.work_dir, Path(runner.work_dir) / 'curves.png')
        left = 'checkpoints and curves.png'
        if not isinstance(_unwrapped(runner.model), Classifier):
            _leave_pictures(runner)
            left = 'checkpoints, curves.png and predictions.png'
        print_log(f'{left} are in {cfg.work_dir}', logger='current')
        for name, key in RESULTS.items():
            if key in metrics:
                print(f'{name} = {metrics[key]:.2f}', flush=True)
    return metrics


def test(cfg: Config, source: str) -> dict[str, float]:
    """Evaluates weights, which have to fit exactly, and stores the numbers in ``metrics.json`` in the work dir.

    The network runs with BatchNorm folded into its convolutions.

    Args:
        cfg: a complete, wired config.
        source: path of the checkpoint, or of weights in any other format that fits.

    Raises:
        CheckpointError: the weights do not fit the config's model.
    """
    cfg.load_from, cfg.resume = None, False
    _join_ranks(cfg)
    runner = Runner.from_cfg(cfg)
    report = load_weights(_unwrapped(runner.model), source)
    print_log(str(report), logger='current')
    _fuse(runner)
    metrics = runner.test()
    if is_main_process():
        path = Path(cfg.work_dir) / 'metrics.json'
        numbers = {k: None if math.isnan(v) else v for k, v in metrics.items() if isinstance(v, (int, float))}
        path.write_text(json.dumps(dict(checkpoint=source, **numbers), indent=2, ensure_ascii=False) + '\n')
        print(f'the numbers are in {path}', flush=True)
    return metrics


def _join_ranks(cfg: Config) -> None:
    """Lets torchrun work on a CPU: MMEngine would ask for a GPU there."""
    if cfg.get('launcher') != 'pytorch' or get_device() != 'cpu':
        return
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )


class _InitialWeights(Hook):
    """Loads weights just before the first step: the Runner initialises the whole model when it starts."""

    def __init__(self, path: str, allow_head_mismatch: bool) -> None:
        self.path = path
        self.allow_head_mismatch = allow_head_mismatch

    def before_train(self, runner: Runner) -> None:
        model = _unwrapped(runner.model)
        report = load_weights(model, self.path, allow_head_mismatch=self.allow_head_mismatch)
        print_log(f'{self.path}: {report}', logger='current')


def _unwrapped(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model


def _fuse(runner: Runner) -> None:
    """Folds BatchNorm into the convolutions of a Runner's model, inside the wrapper if there is one."""
    if is_model_wrapper(runner.model):
        runner.model.module = fuse(runner.model.module)
    else:
        runner.model = fuse(runner.model)


def _leave_pictures(runner: Runner) -> None:
    work_dir = Path(runner.work_dir)
    detector = Detector(find_latest_checkpoint(runner.work_dir), runner.cfg)
    dataset = runner.val_dataloader.dataset
    pairs = []
    for i in range(min(GRID_IMAGES, len(dataset))):
        sample = dataset.get_data_info(i)
        image = read_image(sample['img_path'])
        objects = [instance for instance in sample['instances'] if not instance['ignore_flag']]
        truth = [instance['bbox'] for instance in objects], [instance['bbox_label'] for instance in objects]
        found = detector(image)
        pairs.append((
            draw_boxes(image, *truth, names=detector.classes),
            draw_boxes(image, found.boxes, found.labels, found.scores, detector.classes),
        ))  # fmt: skip
    prediction_grid(pairs, work_dir / 'predictions.png')
