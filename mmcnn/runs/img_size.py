"""``img_size``: the side of the network input, applied to every transform of a config."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.config import Config

from mmcnn.config.load import dicts_in
from mmcnn.config.model import build_on_meta, is_classifier
from mmcnn.config.parts import loaders_of
from mmcnn.errors import UsageError

#: Smallest side of a classifier's images in pixels: it leaves one value at stride 32.
MIN_IMAGE = 32
#: MMDetection's transforms that determine the size of the network's input.
SCALED = ('Resize', 'RandomResize', 'RandomChoiceResize')


def set_img_size(cfg: Config, size: int | None) -> None:
    """Set the side of the network input in every transform of every pipeline that has one.

    Affected are ``img_scale`` of our transforms, and ``scale`` of MMDetection's, which keep the aspect ratio: there
    it is the longer side, and a range of sizes keeps its proportions. None keeps a config's values; if a classifier's
    config leaves the size open (``img_scale=None``), it is the size that the backbone's published weights expect.

    Raises:
        UsageError: the size is not a multiple of 32 for a detector, or too small for a classifier, or the config has no
            such transform.
    """
    transforms = [node for node in dicts_in(cfg) if 'type' in node]
    sized = [node for node in transforms if 'img_scale' in node]
    scaled = [node for node in transforms if node['type'] in SCALED and 'scale' in node]
    if size is not None and not sized and not scaled:
        raise UsageError(f'img_size={size}: this config has no transform with an img_scale or a scale; use cfg_options')
    if is_classifier(cfg):
        _set_classifier_size(cfg, size, sized)
        return
    if size is None:
        return
    if size < 32 or size % 32:
        raise UsageError(f'img_size={size}: it must be a multiple of 32, the coarsest stride')
    before = max(sized[0]['img_scale'] if sized else _sides(scaled[-1]['scale']))
    for node in sized:
        node['img_scale'] = (size, size)
    for node in scaled:
        largest = max(_sides(node['scale']))
        sides = [max(round(side * size / largest / 32), 1) * 32 for side in _sides(node['scale'])]
        # A range has two corners, (smaller, smaller) and (larger, larger).
        is_range = isinstance(node['scale'][0], Sequence)
        node['scale'] = [(side, side) for side in sides] if is_range else (size, size)
    for node in dicts_in(cfg.model):
        if 'random_size_range' in node:
            node['random_size_range'] = tuple(round(s * size / before / 32) * 32 for s in node['random_size_range'])


def _sides(scale: Sequence) -> list[int]:
    """Return the longer side of a transform's ``scale``, or of each of several."""
    return [max(corner) for corner in scale] if isinstance(scale[0], Sequence) else [max(scale)]


def _set_classifier_size(cfg: Config, size: int | None, sized: list[dict]) -> None:
    open_ones = [node for node in sized if node['img_scale'] is None]
    if size is None and open_ones:
        own = build_on_meta(cfg).image.size
        for node in open_ones:
            node['img_scale'] = (own, own)
    if size is None:
        return
    if size < MIN_IMAGE:
        raise UsageError(f'img_size={size}: it must be at least {MIN_IMAGE}')
    model = build_on_meta(cfg).eval()
    try:
        model(torch.empty(1, model.backbone.in_channels, size, size, device='meta'))
    except RuntimeError as error:  # 'valid' padding leaves nothing to convolve
        raise UsageError(
            f'img_size={size}: too small for {cfg.model.backbone.type} ({str(error).splitlines()[0]})'
        ) from error
    for node in sized:
        node['img_scale'] = (size, size)


def image_size(cfg: Config) -> tuple[int, int] | None:
    """Return width and height into which a detector's test images are scaled, in pixels; None: unknown.

    A config without a test uses those of the validation or the training.
    """
    loader = next(iter([*loaders_of(cfg).values()][::-1]))
    steps = (step for step in dicts_in(loader) if 'type' in step and ('img_scale' in step or step['type'] in SCALED))
    sizes = (step.get('img_scale') or step.get('scale') for step in steps)
    return next((tuple(size) for size in sizes if size is not None), None)


def other_size(cfg: Config, recorded: Config, path: str) -> str:
    """Return a warning if a checkpoint is evaluated at another image size than that of its own config; otherwise ''.

    Args:
        cfg: the config of the evaluation.
        recorded: the config in the checkpoint; empty if there is none.
        path: the checkpoint.
    """
    if not loaders_of(recorded) or not loaders_of(cfg):
        return ''
    sizes = [image_size(each) for each in (recorded, cfg)]
    if None in sizes:
        return ''
    trained, now = (max(_sides(size)) for size in sizes)
    if trained == now:
        return ''
    return (
        f'{path} was trained for images of {trained} px, but the config has {now} px; img_size={trained} evaluates it '
        'at its own size'
    )
