"""Evaluation of an exported network: data and metric as in PyTorch, without a PyTorch model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.registry import DATASETS, METRICS
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

from mmcnn.compat import pycocotools_prints
from mmcnn.console import Console
from mmcnn.console.layout import ALL_COLUMNS, validation
from mmcnn.errors import UsageError
from mmcnn.image_file import read_image_file
from mmcnn.runs.causes import known_causes, terminated
from mmcnn.runs.console_runner import redirect
from mmcnn.runs.data import set_data
from mmcnn.runs.drawn_split import draw_of
from mmcnn.runs.exported import WITHOUT_MEANING, refuse_options
from mmcnn.runs.head import data_row, shown_path
from mmcnn.runs.options import TestOptions
from mmcnn.runs.process_state import kept_process_state
from mmcnn.runs.results import EvaluateResult, by_name, main_numbers, nothing_rows, write_metrics
from mmcnn.runs.taken import taken
from mmcnn.runs.work_dirs import for_test
from mmcnn.runtime import Detector

#: Batches between two lines without a terminal, as in MMEngine's LoggerHook.
_INTERVAL = 50

Find = Callable[[Sequence[np.ndarray]], Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]]


def evaluate_exported(options: TestOptions) -> EvaluateResult:
    """Evaluate an exported detector on the validation images of a data folder, like a checkpoint.

    Raises:
        UsageError: an option has no effect on it, or is invalid.
        CheckpointError: the file cannot be used, or nothing can be written to the work dir.
        DataError: the data cannot be used.
    """
    refuse_options(options, WITHOUT_MEANING)
    if options.data is None:
        raise UsageError(f'{options.checkpoint} is an exported network without data: add data=PATH')
    console, notes = Console(options.verbose), []
    with kept_process_state(), known_causes(), terminated(), console.run():
        detector = Detector(options.checkpoint, score_thr=0.0)
        if detector.metadata.form == 'nms':
            least = detector.metadata.test_cfg['score_thr']
            notes.append(f'note: {detector.path} drops detections with scores up to {least:g}, which AP would count')
        cfg = data_config(detector.classes)
        cfg.work_dir = str(for_test(f'{detector.path.resolve().parent.name}-{detector.path.stem}', options.work_dir))
        console.line(f'checking the data: {options.data}')
        trained = {'meta': {'dataset_meta': {'classes': detector.classes}}}
        set_data(cfg, options.data, trained, options.skip_bad, notes.append, draw_of(options), classes=options.classes)
        new, begun = options.work_dir is None and not Path(cfg.work_dir).exists(), []
        with taken(cfg, new, lambda: bool(begun), notes.append):
            return _evaluate(detector, cfg, options, console, notes, begun)


def data_config(classes: tuple[str, ...]) -> Config:
    """Return a config with the evaluation settings, but without data; for :func:`~mmcnn.runs.data.set_data`."""
    dataset = dict(type='CocoDataset', data_prefix=dict(), test_mode=True, pipeline=[])
    return Config(
        dict(
            model=dict(type='exported', bbox_head=dict(num_classes=len(classes))),
            test_dataloader=dict(dataset=dataset),
            test_evaluator=dict(type='mmcnn.CocoMetric'),
        )
    )


def _evaluate(
    detector: Detector, cfg: Config, options: TestOptions, console: Console, notes: list[str], begun: list[Any]
) -> EvaluateResult:
    work_dir, now = Path(cfg.work_dir), time.strftime('%Y%m%d_%H%M%S')
    log = work_dir / now / f'{now}.log'
    log.parent.mkdir(parents=True)
    begun.append(log)
    logger = MMLogger.get_instance(f'{work_dir.name}_{now}', logger_name='mmcnn', log_file=str(log), log_level='INFO')
    redirect(logger, console)
    dataset, metric = data_and_metric(cfg)
    rows = [
        ('model', f'{detector.metadata.network}, exported in form {detector.metadata.form}, '
                  f'{detector.metadata.precision}'),
        ('weights', shown_path(detector.path)),
        ('data', data_row(dataset, f'{len(dataset):,} test images')),
        ('device', f'cpu ({detector.runtime})'),
        ('log', shown_path(log)),
    ]  # fmt: skip
    console.head(rows, notes)
    logged = measured(
        detector.find,
        dataset,
        metric,
        options.batch_size or 1,
        lambda step, steps: console.progress(f'batch {step}/{steps}', due=step % _INTERVAL == 0),
    )
    console.end_progress()
    metrics, class_ap = by_name(logged)
    console.table('', validation(metrics, class_ap, ALL_COLUMNS))
    file = write_metrics(work_dir, str(options.checkpoint), logged)
    console.summary([('numbers', shown_path(file)), *nothing_rows(metrics)], main_numbers(metrics))
    return EvaluateResult(work_dir, Path(options.checkpoint), metrics, class_ap)


def data_and_metric(cfg: Config) -> tuple[Any, Any]:
    """Return the data set and the metric of a config of :func:`data_config`."""
    with DefaultScope.overwrite_default_scope('mmdet'), pycocotools_prints.to_the_log():
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        metric = METRICS.build(cfg.test_evaluator)
    metric.dataset_meta = dataset.metainfo
    return dataset, metric


def measured(
    find: Find, dataset: Any, metric: Any, batch_size: int = 1, progress: Callable[[int, int], object] = lambda *_: None
) -> dict[str, float]:
    """Return the metrics of the detections in the images of a data set, by the names in the log.

    Args:
        find: called with images (H, W, 3) uint8 BGR; returns boxes (K, 4) xyxy in pixels, scores (K,) and labels (K,)
            of each.
        dataset: from :func:`data_and_metric`.
        metric: from the same.
        batch_size: number of images for each call of ``find``.
        progress: called after each batch with its number, from 1, and the number of batches.
    """
    starts = range(0, len(dataset), batch_size)
    for step, start in enumerate(starts, start=1):
        infos = [dataset.get_data_info(i) for i in range(start, min(start + batch_size, len(dataset)))]
        found = find([read_image_file(info['img_path']) for info in infos])
        metric.process({}, [_sample(info, *each) for info, each in zip(infos, found, strict=True)])
        progress(step, len(starts))
    return metric.evaluate(len(dataset))


def _sample(info: dict, boxes: Any, scores: Any, labels: Any) -> dict:
    """Return the detections in an image in the format of a metric."""
    found = dict(bboxes=boxes, scores=scores, labels=labels)
    return dict(
        img_id=info['img_id'],
        ori_shape=(info['height'], info['width']),
        pred_instances={name: torch.from_numpy(value) for name, value in found.items()},
    )
