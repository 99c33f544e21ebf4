"""A detector config's settings of preprocessing and post-processing, in the terms of the runner."""

from __future__ import annotations

import math
from typing import Any

from mmdet.models import DetDataPreprocessor, FasterRCNN
from mmdet.models.dense_heads import YOLOV3Head
from mmengine.config import Config
from torch import nn

from mmcnn.deployment.nms import KINDS, kind_and_threshold
from mmcnn.errors import UsageError
from mmcnn.fit import Fit
from mmcnn.image_format import ImageFormat
from mmcnn.inference.detector import test_pipeline
from mmcnn.models.classifiers import Classifier
from mmcnn.models.dense_heads import DarknetYOLOV3Head, YOLOHead
from mmcnn.ops import NMS_KINDS

#: Sides of the input of a file are multiples of this, the coarsest stride of the detectors.
COARSEST = 32
#: Steps of a test pipeline that do not change pixels.
_WITHOUT_PIXELS = ('PackDetInputs', 'LoadAnnotations')


def image_of(network: nn.Module, cfg: Config) -> ImageFormat:
    """Return mean, deviation and channel order of the images that a config's model expects.

    Raises:
        UsageError: they are not normalised by one mean and deviation for each of three channels.
    """
    if isinstance(network, Classifier) and not cfg.model.get('data_preprocessor'):
        return network.image
    settings = cfg.model.get('data_preprocessor') or {}
    mean, std = (tuple(float(value) for value in settings.get(key) or ()) for key in ('mean', 'std'))
    if len(mean) != 3 or len(std) != 3:
        raise UsageError(
            f'the data preprocessor has mean={settings.get("mean")} and std={settings.get("std")}; an export '
            'needs three numbers each, one per channel'
        )
    if isinstance(network.data_preprocessor, DetDataPreprocessor) and settings.get('rgb_to_bgr'):
        raise UsageError(
            'the data preprocessor has rgb_to_bgr=True, so its images are RGB, but a file expects BGR images'
        )
    return ImageFormat(mean=mean, std=std, order='rgb' if settings.get('bgr_to_rgb') else 'bgr')


def fit_of(cfg: Config, image: ImageFormat) -> Fit:
    """Return how the test pipeline and the data preprocessor of a config fit an image to a detector's input.

    Raises:
        UsageError: they have a step that the runner does not support; the message gives it.
    """
    steps = [step for step in test_pipeline(cfg) if _short(step) not in _WITHOUT_PIXELS]
    if len(steps) != 1 or _short(steps[0]) not in ('LetterBox', 'Resize'):
        names = ', '.join(_short(step) for step in steps) or 'nothing'
        raise UsageError(f'the test pipeline changes images by {names}; exports support one LetterBox or one Resize')
    step = {key: value for key, value in steps[0].items() if key != 'type'}
    settings = cfg.model.data_preprocessor
    if _short(steps[0]) == 'LetterBox':
        rect, grey = step.get('rect', True), float(step.get('pad_val', 114))
        return Fit(
            scale=tuple(step.get('img_scale', (640, 640))),
            stride=step.get('stride', 32) if rect else None,
            extra=step.get('extra', 0.5),
            value=(grey,) * 3,
        )
    scale = step.get('scale')
    if scale is None or isinstance(scale, int) or set(step) - {'scale', 'keep_ratio'} or not step.get('keep_ratio'):
        raise UsageError(
            f'the test pipeline has {steps[0]}; exports support Resize with scale=(W, H) and keep_ratio=True'
        )
    pad = float(settings.get('pad_value', 0))
    value = tuple(pad * std + mean for mean, std in zip(image.mean, image.std, strict=True))
    return Fit(
        scale=tuple(scale),
        rule='long-short',
        rounding='half-up',
        shrink='linear',
        place='corner',
        stride=math.lcm(pad_size_divisor(cfg), COARSEST),
        extra=0.0,
        value=value[::-1] if image.order == 'rgb' else value,  # for BGR images
    )


def pad_size_divisor(cfg: Config) -> int:
    """Return the number to whose multiples MMDetection's data preprocessor pads the sides of a batch."""
    return int(cfg.model.data_preprocessor.get('pad_size_divisor', 1))


def padding(fit: Fit, cfg: Config) -> list[str]:
    """Return a sentence if a file pads images differently from PyTorch's test of the config."""
    if fit.stride is None:
        return []
    # For a letterbox, the letterbox reports it.
    divisor = pad_size_divisor(cfg) if fit.rule == 'long-short' else fit.stride
    theirs = f'only to the next multiple of {divisor}' if divisor > 1 else 'not at all'
    if fit.canvas is not None:
        way_out = '; dynamic=all pads as PyTorch does' if divisor == fit.stride else ''
        return [
            f'every image is padded to {fit.canvas[0]} x {fit.canvas[1]} px, but by PyTorch {theirs}: '
            f'results for images of other shapes differ slightly{way_out}'
        ]
    if divisor == fit.stride:
        return []
    return [
        f'every image is padded to the next multiple of {fit.stride}, which a file needs, but by PyTorch {theirs} '
        f'(pad_size_divisor={divisor}): results differ slightly; the check pads both alike'
    ]


def test_cfg_of(network: nn.Module) -> dict[str, Any]:
    """Return the post-processing of a detector: score_thr, nms, nms_pre, max_per_img and multi_label.

    Raises:
        UsageError: this detector cannot be exported, or its post-processing has a step that neither a file nor the
            runner supports.
    """
    if isinstance(network, FasterRCNN):
        cfg = network.test_cfg.rcnn
        return _plain(cfg, 'test_cfg.rcnn', cfg.score_thr, cfg.max_per_img)
    head = getattr(network, 'bbox_head', None)
    if isinstance(head, YOLOHead):
        cfg = head.test_cfg
        return _plain(cfg, 'test_cfg', cfg['score_thr'], cfg['nms_pre'], cfg['multi_label'])
    if isinstance(head, YOLOV3Head):
        if (smallest := head.test_cfg.get('min_bbox_size', 0)) > 0:
            raise UsageError(f'test_cfg.min_bbox_size={smallest} cannot be exported; remove it')
        # Its own threshold and limit use only class scores, and are in the graph (forms.Decoded).
        return _plain(head.test_cfg, 'test_cfg', 0.0, head.test_cfg.get('nms_pre', -1))
    kind = type(head or network).__name__
    raise UsageError(f'{kind} cannot be exported; YOLOHead, YOLOV3Head, FasterRCNN and every backbone can')


def set_score_thr(network: nn.Module, score_thr: float) -> None:
    """Set a detector's score threshold, to compare it with a file whose threshold differs from its config's.

    The thresholds of MMDetection's YOLOV3Head are unchanged, since they apply to other scores.
    """
    if isinstance(network, FasterRCNN):
        network.roi_head.test_cfg.score_thr = score_thr
    elif isinstance(network.bbox_head, YOLOHead):
        network.bbox_head.test_cfg['score_thr'] = score_thr


def clips(network: nn.Module) -> bool:
    """Return whether a detector clips boxes to the image; MMDetection's heads need not."""
    return isinstance(getattr(network, 'bbox_head', None), YOLOHead | DarknetYOLOV3Head)


def _plain(cfg: dict, where: str, score_thr: float, nms_pre: int, multi_label: bool = True) -> dict[str, Any]:
    kind, iou_threshold = kind_and_threshold(cfg, where)
    if kind not in (*KINDS, *NMS_KINDS):
        raise UsageError(f'{where}.nms.type={kind!r} cannot be exported; {", ".join((*KINDS, *NMS_KINDS[1:]))} can')
    if not 0 <= score_thr <= 1:
        raise UsageError(f'{where}.score_thr={score_thr} must be between 0 and 1')
    return dict(
        score_thr=float(score_thr),
        nms=dict(type=kind, iou_threshold=iou_threshold),
        nms_pre=int(nms_pre),
        max_per_img=int(cfg['max_per_img']),
        multi_label=bool(multi_label),
    )


def _short(step: dict) -> str:
    return step['type'].rpartition('.')[2]
