"""The loss of an MMDetection detector with a new backbone, computed before the first step."""

from __future__ import annotations

from mmengine.config import Config

from mmcnn.config.load import dicts_in
from mmcnn.config.model import is_classifier, refusals
from mmcnn.models.wiring import Given, backbone_of, prove_loss
from mmcnn.models.wiring.parts import class_of


def prove_swapped(cfg: Config, in_full: bool, swapped: bool) -> list[str]:
    """Compute the loss of a synthetic batch if a backbone is new to its detector; it takes seconds.

    mmcnn's tests cover its own detectors with every backbone, MMDetection's tests cover its detectors with their
    backbones.

    Args:
        cfg: wired, with the data of the training.
        in_full: whether the detector was written with all numbers, like MMDetection's, instead of being wired.
        swapped: whether an option has set another backbone.

    Returns:
        sentences about what could not be proven.

    Raises:
        UsageError: the detector's parts do not fit together in training.
    """
    backbone = backbone_of(cfg.model)
    if is_classifier(cfg) or backbone is None or not in_full:
        return []
    if not swapped and class_of(backbone).__module__.startswith('mmdet.'):
        return []
    with refusals():
        return prove_loss(cfg.model if 'backbone' in cfg.model else cfg.model.detector, given_by(cfg))


def given_by(cfg: Config) -> Given:
    """Return the annotations that a training's transforms load besides boxes and classes."""
    masks, semantic, scale = False, False, 1.0
    for step in dicts_in(cfg.train_dataloader):
        kind = str(step.get('type')).removeprefix('mmdet.')
        if kind in ('LoadAnnotations', 'LoadPanopticAnnotations'):
            default = kind == 'LoadPanopticAnnotations'
            masks = masks or step.get('with_mask', default)
            semantic = semantic or step.get('with_seg', default)
        elif kind == 'SegRescale':
            scale = step.get('scale_factor', 1.0)
    return Given(bool(masks), round(1 / scale) if semantic else None)
