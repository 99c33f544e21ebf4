"""Everything that a report needs of a training run: config, history, val split and the checkpoint's detections."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmcnn.config.load import load_config
from mmcnn.config.model import is_classifier
from mmcnn.config.parts import inner_datasets, metrics_of
from mmcnn.datasets.anchors import anchors_of, best_possible_recall
from mmcnn.errors import DataError, UsageError
from mmcnn.evaluation.kept_detections import DETECTIONS, read_detections
from mmcnn.exported_file import is_exported
from mmcnn.plots.curves import read_entries
from mmcnn.report.losses import losses_of_images
from mmcnn.report.options import LOSS, ReportOptions
from mmcnn.runs.anchors import train_box_sizes
from mmcnn.runs.api import run_test
from mmcnn.runs.checkpoints import last_checkpoint
from mmcnn.runs.data_sets import inner_dataset
from mmcnn.runs.drawn_split import drawn_flags
from mmcnn.runs.img_size import image_size
from mmcnn.runs.options import TestOptions


@dataclass(frozen=True)
class History:
    """The logged values of a training.

    Attributes:
        losses: iteration -> name of a loss -> value.
        rates: iteration -> learning rate.
        scores: epoch -> results of its validation, with MMEngine's names.
        epoch_losses: mean of the total loss of each epoch, in order.
    """

    losses: dict[int, dict[str, float]]
    rates: dict[int, float]
    scores: dict[int, dict[str, float]]
    epoch_losses: list[float]

    @classmethod
    def of(cls, work_dir: Path) -> History:
        """Return the history in a work dir; empty if nothing was logged."""
        try:
            iterations, scores = read_entries(work_dir)
        except FileNotFoundError:
            return cls({}, {}, {}, [])
        losses = {
            step: {name: value for name, value in entry.items() if name == 'loss' or name.startswith('loss_')}
            for step, entry in iterations.items()
        }
        epochs: dict[int, list[float]] = {}
        for entry in iterations.values():
            epochs.setdefault(entry.get('epoch', 0), []).append(entry['loss'])
        rates = {step: entry['lr'] for step, entry in iterations.items() if 'lr' in entry}
        return cls(losses, rates, scores, [float(np.mean(epochs[epoch])) for epoch in sorted(epochs)])


@dataclass(frozen=True)
class RunData:
    """A training run and the detections of its checkpoint on val.

    Attributes:
        work_dir: its folder.
        checkpoint: the checkpoint of these detections; None: the training kept those of its last validation.
        classes: their names.
        ann_file: COCO annotations of val.
        coco: their content.
        images: folder of the images.
        detections: (N, 7): image id, x, y, width, height in pixels of the image, score, category id.
        made: how the detections were made, in words.
        history: history of the training.
        img_size: longer side of the network's input, pixels; None: unknown.
        anchor_recall, anchors_command: see :class:`~mmcnn.report.findings.Facts`.
        train_boxes: class -> number of training boxes; empty: unknown.
        losses: image id -> loss of the checkpoint; empty: not computed.
    """

    work_dir: Path
    checkpoint: Path | None
    classes: tuple[str, ...]
    ann_file: Path
    coco: dict
    images: Path
    detections: np.ndarray
    made: str
    history: History
    img_size: int | None
    anchor_recall: float | None
    anchors_command: str
    train_boxes: dict[str, int]
    losses: dict[int, float] = field(default_factory=dict)


def read_run(options: ReportOptions) -> RunData:
    """Read a run, and run its checkpoint on val unless the run kept the detections.

    Raises:
        UsageError: the folder has no training run of a detector, or no checkpoint.
        DataError: the data cannot be used.
        CheckpointError: the checkpoint cannot be used.
    """
    work_dir = Path(options.work_dir)
    dumped = config_of_run(work_dir)
    kept = work_dir / DETECTIONS
    by_loss = options.worst == LOSS
    if options.data is None and options.checkpoint is None and not by_loss and kept.is_file():
        checkpoint, cfg, detections = None, dumped, read_detections(kept)
        made = f'kept from the last validation of the training ({DETECTIONS})'
    else:
        checkpoint = _checkpoint(work_dir, options.checkpoint)
        cfg, detections = _detect(dumped, checkpoint, options)
        made = f'of {checkpoint.name}, computed for this report'
    dataset = inner_dataset(cfg.get('test_dataloader') or cfg.val_dataloader)
    metric = (metrics_of(cfg, 'test_evaluator') or metrics_of(cfg, 'val_evaluator'))[0][1]
    ann_file = Path(metric.get('ann_file') or Path(dataset.get('data_root') or '', dataset.ann_file))
    coco = _json(ann_file)
    classes = (dataset.get('metainfo') or {}).get('classes') or [each['name'] for each in coco['categories']]
    size = image_size(cfg)
    recall, command = _anchors(dumped, max(size) if size else None)
    losses = losses_of_images(checkpoint, dataset, options.device) if by_loss else {}
    return RunData(
        work_dir, checkpoint, (classes,) if isinstance(classes, str) else tuple(classes), ann_file, coco,
        Path(dataset.get('data_root') or '', (dataset.get('data_prefix') or {}).get('img', '')), detections, made,
        History.of(work_dir), max(size) if size else None, recall, command, _train_boxes(dumped),
        losses,
    )  # fmt: skip


def config_of_run(work_dir: Path) -> Config:
    """Return the complete config that a run has written to its folder.

    Raises:
        UsageError: there is none, or it is not a detector's.
    """
    files = sorted(work_dir.glob('*.py'))
    if not files:
        state = 'has no config (*.py)' if work_dir.is_dir() else 'does not exist'
        raise UsageError(f'{work_dir} {state}: give the work dir of a training, such as work_dirs/RUN')
    cfg = load_config(str(files[0]), say=lambda _: None)
    if is_classifier(cfg):
        raise UsageError(f'{work_dir} contains a run of a classifier; mmcnn report needs a detector')
    if cfg.get('test_dataloader') is None and cfg.get('val_dataloader') is None:
        raise UsageError(f'{files[0]} has no val_dataloader and no test_dataloader: there is nothing to analyse')
    return cfg


def _checkpoint(work_dir: Path, chosen: str | Path | None) -> Path:
    if is_exported(chosen):
        raise UsageError(f'{chosen} is an exported network: mmcnn report needs a checkpoint of the run')
    if chosen is not None:
        return Path(chosen) if Path(chosen).exists() else work_dir / chosen
    if (best := work_dir / 'best.pth').is_file():
        return best
    found = last_checkpoint(work_dir)
    if found is None:
        raise UsageError(f'{work_dir} has no checkpoint yet (best.pth, last_checkpoint): give one with --checkpoint')
    return found[0]


def _detect(dumped: Config, checkpoint: Path, options: ReportOptions) -> tuple[Config, np.ndarray]:
    """Return the config of an evaluation of the checkpoint, and its detections."""
    evaluator = metrics_of(dumped, 'test_evaluator') or metrics_of(dumped, 'val_evaluator')
    with tempfile.TemporaryDirectory() as folder:
        prefix = f'{Path(folder, "val")}'
        key = evaluator[0][0].replace('val_evaluator', 'test_evaluator')
        run_test(
            TestOptions(
                checkpoint=checkpoint, data=options.data, device=options.device, imports=options.imports,
                work_dir=Path(folder, 'run'), cfg_options={f'{key}.outfile_prefix': prefix},
            ),
            names_file=False,
        )  # fmt: skip
        cfg = load_config(str(next(Path(folder, 'run').glob('*.py'))), say=lambda _: None)
        file = Path(f'{prefix}.bbox.json')
        found = json.loads(file.read_bytes()) if file.is_file() else []
    rows = [(each['image_id'], *each['bbox'], each['score'], each['category_id']) for each in found]
    return cfg, np.array(rows, float).reshape(-1, 7)


def _anchors(cfg: Config, size: int | None) -> tuple[float | None, str]:
    """Return the best possible recall on the training boxes, and the command that proposes other anchors."""
    anchors = anchors_of(cfg.model)
    if anchors is None or size is None or not _train_files(cfg):
        return None, ''
    root = inner_dataset(cfg.train_dataloader).get('data_root')
    command = ['mmcnn', 'anchors', '--data', str(root), *drawn_flags(cfg)]
    command += ['--config', str(cfg.filename), '--img-size', str(size)]
    return best_possible_recall(train_box_sizes(cfg, size), anchors), shlex.join(command)


def _train_boxes(cfg: Config) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for file in _train_files(cfg):
        coco = _json(file)
        names = {each['id']: each['name'] for each in coco['categories']}
        counts.update(dict.fromkeys(names.values(), 0))
        counts.update(names[each['category_id']] for each in coco['annotations'] if not each.get('iscrowd'))
    return dict(counts)


def _train_files(cfg: Config) -> list[Path]:
    """Return the annotation files of the training; empty if they are not in COCO format or no longer exist."""
    loader: Any = cfg.get('train_dataloader')
    sets = list(inner_datasets(loader.dataset)) if loader is not None else []
    files = [Path(each.get('data_root') or '', each.get('ann_file') or '') for each in sets]
    return files if all(file.suffix == '.json' and file.is_file() for file in files) else []


def _json(file: Path) -> dict:
    try:
        return json.loads(file.read_text(encoding='utf-8-sig'))
    except (OSError, ValueError) as error:
        raise DataError(f'{file} cannot be read: {getattr(error, "strerror", None) or error}', str(file)) from error
