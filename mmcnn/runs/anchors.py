"""Checks whether a config's anchors fit the boxes of the training data."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
from mmengine.config import Config

from mmcnn.config.parts import inner_datasets
from mmcnn.config.variables import Say
from mmcnn.datasets.anchors import anchors_of, best_possible_recall, box_sizes
from mmcnn.runs.drawn_split import drawn_flags
from mmcnn.runs.img_size import image_size

#: Best possible recall below which anchors count as unsuitable, as in YOLOv5's check before training.
MIN_RECALL = 0.98


def warn_of_anchors(cfg: Config, data: str | Path | None, say: Say = print) -> None:
    """Warn if a detector's anchors cannot match many training boxes (:data:`MIN_RECALL`).

    Detectors without anchors of fixed sizes and data that is not in COCO format are not checked.

    Args:
        cfg: complete, with existing data.
        data: the option, for the command in the warning.
        say: called with the warning.
    """
    anchors, size = anchors_of(cfg.model), image_size(cfg)
    if anchors is None or size is None:
        return
    if not all(str(each.get('ann_file')).endswith('.json') for each in inner_datasets(cfg.train_dataloader.dataset)):
        return
    size = max(size)
    recall = best_possible_recall(train_box_sizes(cfg, size), anchors)
    if recall < MIN_RECALL:
        command = ['mmcnn', 'anchors', *(['--data', str(data)] if data else []), *drawn_flags(cfg)]
        command += ['--config', str(cfg.filename), '--img-size', str(size)]
        say(
            f'warning: the best possible recall of the anchors on the training boxes is {recall:.4f}; to compute '
            f'anchors that fit better: {shlex.join(command)}'
        )


def train_box_sizes(cfg: Config, img_size: int) -> np.ndarray:
    """Return widths and heights (N, 2) of a detector's training boxes, in pixels at the network's input.

    Args:
        cfg: with existing data (:func:`~mmcnn.runs.data.set_data`).
        img_size: longer side of each image.
    """
    files = [
        Path(dataset.get('data_root') or '', dataset.ann_file)
        for dataset in inner_datasets(cfg.train_dataloader.dataset)
    ]
    return np.concatenate([box_sizes(json.loads(file.read_bytes()), img_size) for file in files])
