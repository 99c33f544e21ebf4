"""Checks that BatchNorm gets more than one value in training: a single small image has one at the coarsest stride."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch
from mmengine.config import Config

from mmcnn.config.load import dicts_in
from mmcnn.config.model import build_on_meta, is_classifier
from mmcnn.config.variables import Say
from mmcnn.errors import UsageError
from mmcnn.launchers import world_size

#: Part of the error of PyTorch's BatchNorm in the first step.
_REFUSED = 'more than 1 value per channel'


def check_batch_norm(cfg: Config, launcher: str, num_images: int | None, say: Say) -> None:
    """Refuse a training with batches of one image that are too small for BatchNorm, before its first step.

    The model processes such a batch on the meta device, which takes no time. If only the last batch of an epoch has one
    image, it is dropped (``drop_last``), with a note.

    Args:
        cfg: complete and wired.
        launcher: launcher of the processes that share the images.
        num_images: number of training images; None: unknown, so that the last batch is not checked.
        say: called with the note.

    Raises:
        UsageError: names batch size and image size.
    """
    loader = cfg.train_dataloader
    # A batch sampler makes the batches; PyTorch's loader must not get these arguments as well.
    batches = loader.batch_sampler if isinstance(loader.get('batch_sampler'), dict) else loader
    wrapped = 'dataset' in loader.dataset.get('dataset', {}) or 'datasets' in loader.dataset.get('dataset', {})
    # A wrapper may give images more than once.
    share = None if num_images is None or wrapped else -(-num_images // world_size(launcher))
    batch = loader.get('batch_size', 1) if share is None else min(loader.batch_size, share)
    is_last = batch > 1 and share is not None and share % batch == 1 and not batches.get('drop_last')
    size = _smallest_size(cfg)
    if size is None or not (batch == 1 or is_last) or _trains_on_one(cfg, size):
        return
    width, height = size
    if is_last:
        batches.drop_last = True
        say(
            f'note: {num_images} images in batches of {batch} leave one image, and BatchNorm cannot train on one image '
            f'of {width} x {height} px: each epoch drops one image'
        )
        return
    raise UsageError(
        f'batches of one image of {width} x {height} px: the coarsest map has one value per channel, on which '
        'BatchNorm cannot train; use a batch_size of at least 2 (and as many images), or a larger img_size'
    )


def _smallest_size(cfg: Config) -> tuple[int, int] | None:
    """Return width and height of the smallest training images, padded like in the model; None: unknown."""
    sizes: list[tuple[int, int]] = []
    for node in dicts_in(cfg.train_dataloader.dataset):
        scale = node.get('img_scale') or (node.get('scale') if 'Resize' in str(node.get('type')) else None)
        if isinstance(scale, Sequence) and scale:
            sizes += [tuple(each) for each in (scale if isinstance(scale[0], Sequence) else [scale])]
    preprocessor = cfg.model.get('data_preprocessor') or {}
    for node in dicts_in(preprocessor):
        sizes += [(min(node.random_size_range),) * 2] if node.get('random_size_range') else []
    divisor = preprocessor.get('pad_size_divisor', 1)
    return min(tuple(-(-side // divisor) * divisor for side in size) for size in sizes) if sizes else None


def _trains_on_one(cfg: Config, size: tuple[int, int]) -> bool:
    """Return whether a model in training mode can process one image; True also if the meta device cannot tell."""
    # Some of MMDetection's parts compute things that the meta device cannot.
    with contextlib.suppress(RuntimeError, NotImplementedError, AttributeError):
        model = build_on_meta(cfg).train()
        image = torch.empty(1, getattr(model.backbone, 'in_channels', 3), *size[::-1], device='meta')
        try:
            if is_classifier(cfg):
                model(image)
                return True
            maps = model.extract_feat(image)
            for name in ('bbox_head', 'rpn_head'):
                if getattr(model, name, None) is not None:
                    getattr(model, name)(maps)
        except ValueError as error:
            return _REFUSED not in str(error)
    return True
