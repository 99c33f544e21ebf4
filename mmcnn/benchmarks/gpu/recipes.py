"""The recipes that are checked, and their configs without downloads."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config

from mmcnn.benchmarks.gpu.measurement import Circumstances
from mmcnn.datasets.check.detector import check_data
from mmcnn.datasets.check.report import DetectorData
from mmcnn.runs.options import TrainOptions
from mmcnn.runs.prepare import prepare

#: Memory in bytes that the batch sizes below are for.
MEMORY = 80e9
#: In the tiny form: side of the images, pixels, and batch size.
TINY_SIZE, TINY_BATCH = 64, 2
_NARROW = {'model.widen_factor': 0.0625, 'model.deepen_factor': 0.33}
#: Without downloaded weights; a learning rate that hardly changes random ones, since the fixed BatchNorm statistics of
#: these recipes do not match random weights.
_NO_WEIGHTS = {'model.backbone.init_cfg': None, 'optim_wrapper.optimizer.lr': 1e-6}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe.

    Attributes:
        config: its name.
        batch_size: batch size on a card with 80 GB, in float32.
        size: size of its images, in words.
        options: entries of the config, as ``cfg_options``.
        tiny: further entries in the tiny form.
        note: differences from the config.
        is_classifier: whether it is a classifier.
        aim: target in images per second with the loader, on an H100 or H200.
    """

    config: str
    batch_size: int
    size: str
    options: Mapping[str, Any] = field(default_factory=dict)
    tiny: Mapping[str, Any] = field(default_factory=dict)
    note: str = ''
    is_classifier: bool = False
    aim: float | None = None


RECIPES = {
    'yolov5_s': Recipe(config='yolov5_s', batch_size=64, size='640', tiny={'model.widen_factor': 0.0625}, aim=600),
    'yolov4': Recipe(config='yolov4_cspdarknet53', batch_size=32, size='640', tiny=_NARROW, aim=250),
    'yolov4_darknet': Recipe(config='yolov4_cspdarknet53_darknet', batch_size=32, size='608', tiny=_NARROW),
    'yolov3': Recipe(
        config='yolov3_darknet53',
        batch_size=32,
        size='608',
        options=_NO_WEIGHTS,
        tiny={
            **_NARROW,
            'model.neck.out_channels': [32, 16, 8],
            'model.bbox_head.out_channels': [64, 32, 16],
        },
        note='random weights, fixed statistics of BatchNorm, learning rate 1e-6; maximum sizes',
    ),
    'faster_rcnn': Recipe(
        config='faster_rcnn_resnet50_fpn',
        batch_size=16,
        size='800x1333',
        options=_NO_WEIGHTS,
        tiny={
            'model.widen_factor': 0.125,
            'model.neck.out_channels': 16,
            'model.rpn_head.feat_channels': 16,
            'model.roi_head.bbox_head.fc_out_channels': 32,
        },
        note='random weights, fixed statistics of BatchNorm, learning rate 1e-6',
        aim=160,
    ),
    'classifier': Recipe(
        config='classification/resnet50',
        batch_size=256,
        size='224',
        tiny={'model.widen_factor': 0.125},
        is_classifier=True,
    ),
}


def batch_size_of(recipe: Recipe, circumstances: Circumstances) -> int:
    """Return the batch size: the given one, else the recipe's scaled by the memory of the card, a power of two."""
    if circumstances.batch_size is not None:
        return circumstances.batch_size
    if circumstances.tiny:
        return TINY_BATCH
    share = min(circumstances.memory / MEMORY, 1) if circumstances.memory else 1
    fits = max(int(recipe.batch_size * share * 1.05), 1)  # a card with 80 GB reports slightly less
    return 1 << (fits.bit_length() - 1)


def complete_config(
    recipe: Recipe,
    circumstances: Circumstances,
    work_dir: str,
    *,
    batch_size: int,
    img_size: int | None = None,
    workers: int | None = None,
    options: Mapping[str, Any] | None = None,
    amp: bool | str = False,
    channels_last: bool = False,
) -> Config:
    """Return the complete config of a training of a recipe; the process state must be preserved by the caller.

    Args:
        recipe: the recipe.
        circumstances: data and device.
        work_dir: a temporary folder.
        batch_size: images per batch.
        img_size: side of the images in pixels; None: the recipe's, or that of the tiny form.
        workers: number of data-loading processes; None: that of the circumstances.
        options: more entries of the config.
        amp: mixed precision.
        channels_last: memory format of the network.
    """
    folder = circumstances.classes_folder if recipe.is_classifier else circumstances.folder
    if img_size is None and circumstances.tiny:
        img_size = TINY_SIZE
    cfg = prepare(
        TrainOptions(
            config=recipe.config,
            data=folder,
            device=circumstances.device,
            work_dir=work_dir,
            img_size=img_size,
            batch_size=batch_size,
            workers=circumstances.workers if workers is None else workers,
            amp=amp,
            channels_last=channels_last,
            cfg_options={**recipe.options, **(recipe.tiny if circumstances.tiny else {}), **(options or {})},
        ),
        data=None if recipe.is_classifier else _checked(folder),
    ).cfg
    cfg.log_level = 'ERROR'
    return cfg


@functools.cache
def _checked(folder: str) -> DetectorData:
    return check_data(folder).usable()
