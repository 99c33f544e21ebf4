"""The recipes that are checked, and their configs without what would be fetched from a network."""

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

#: Bytes of the memory that the batch sizes below are for.
MEMORY = 80e9
#: Of the tiny form: side of the images, pixels, and images a batch.
TINY_SIZE, TINY_BATCH = 64, 2
_NARROW = {'model.widen_factor': 0.0625, 'model.deepen_factor': 0.33}
#: Weights that are fetched; a rate that leaves random ones about where they are, since the statistics of BatchNorm,
#: which these recipes do not measure anew, are not those of random weights.
_NO_WEIGHTS = {'model.backbone.init_cfg': None, 'optim_wrapper.optimizer.lr': 1e-6}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe.

    Attributes:
        config: its name.
        batch_size: on a card of 80 GB, in float32.
        size: what its images are, in words.
        options: entries of the config, as ``cfg_options``.
        tiny: more of them, in the tiny form.
        note: what differs from the config as it is.
        is_classifier: what it is.
        aim: images a second with the loader, on an H100 or H200.
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
        note='random weights, fixed statistics of BatchNorm, rate 1e-6; sizes at their largest',
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
        note='random weights, fixed statistics of BatchNorm, rate 1e-6',
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
    """Images a batch: those that were asked for, else the recipe's by the memory of the card, a power of two."""
    if circumstances.batch_size is not None:
        return circumstances.batch_size
    if circumstances.tiny:
        return TINY_BATCH
    share = min(circumstances.memory / MEMORY, 1) if circumstances.memory else 1
    fits = max(int(recipe.batch_size * share * 1.05), 1)  # a card of 80 GB says that it has a little less
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
    """The complete config of a training of a recipe; the process state has to be kept around it.

    Args:
        recipe: which one.
        circumstances: data and device.
        work_dir: a temporary folder.
        batch_size: images a batch.
        img_size: side of the images in pixels; None: the recipe's, or that of the tiny form.
        workers: data-loading processes; None: those of the circumstances.
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
