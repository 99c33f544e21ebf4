"""Image classifiers: a backbone with the classification top of its paper, trained and tested by MMEngine's Runner."""

from __future__ import annotations

from typing import Any

import torch
from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.nn import functional as F

from mmcnn.errors import UsageError
from mmcnn.image_format import ImageFormat
from mmcnn.models.families import backbone_families, list_backbones
from mmcnn.nearest import nearest
from mmcnn.registry import MODELS

from .backbones.base import Backbone
from .layers import ConvNormAct, ExportableAdaptiveAvgPool2d


@MODELS.register_module()
class Classifier(BaseModel):
    """A backbone with the classification top of its paper.

    The backbone is the one used for detection, in the form of the paper (``arch.as_classifier``: where the paper uses
    'valid' padding, so does the classifier); its weights have the same names and shapes.

    Args:
        backbone: config of one of our backbones, such as ``dict(type='mmcnn.resnet50')``, without ``out_indices``.
        num_classes: number of classes.
        label_smoothing: fraction of the target that is spread over all classes (Szegedy et al., arXiv 1512.00567).
        data_preprocessor: MMEngine config; None: normalisation of BGR images of 0 to 255 by the row's ``image``.
        init_cfg: MMEngine initialisation.

    Raises:
        UsageError: the backbone is not a classifier or not ours, or an argument is invalid.
    """

    def __init__(
        self,
        backbone: dict,
        num_classes: int = 1000,
        label_smoothing: float = 0.0,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
            raise UsageError(f'num_classes={num_classes!r} must be an integer of at least 1')
        trunk = _build_trunk(backbone)
        super().__init__(data_preprocessor or _preprocessor(trunk.arch.image), init_cfg)
        self.backbone = trunk
        self.top = ClassifierTop(trunk, num_classes)
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing

    @property
    def image(self) -> ImageFormat:
        """Size, mean, deviation and channel order that the published weights expect."""
        return self.backbone.arch.image

    def forward(
        self, inputs: Tensor, data_samples: list[BaseDataElement] | None = None, mode: str = 'tensor'
    ) -> Tensor | dict[str, Tensor] | list[BaseDataElement]:
        """Run the classifier on normalised images (N, C, H, W).

        Args:
            inputs: normalised images (N, C, H, W).
            data_samples: samples with ``gt_label``; needed by 'loss' and 'predict'.
            mode: 'tensor', 'loss' or 'predict'.

        Returns:
            'tensor': logits (N, num_classes). 'loss': ``dict(loss=...)``, the cross-entropy with the samples'
                ``gt_label``. 'predict': the samples with ``pred_label`` and ``pred_scores`` (num_classes,), which sum
                to 1.

        Raises:
            UsageError: ``mode`` is invalid.
        """
        if mode not in ('tensor', 'loss', 'predict'):
            raise UsageError(f"mode='{mode}' must be 'tensor', 'loss' or 'predict'")
        logits = self.top(self.backbone(inputs)[-1])
        if mode == 'tensor':
            return logits
        # Under a CPU's autocast the following operations would stay in bfloat16.
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if mode == 'loss':
            labels = torch.as_tensor([int(sample.gt_label) for sample in data_samples], device=logits.device)
            return dict(loss=F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing))
        samples = data_samples or [BaseDataElement() for _ in logits]
        for sample, scores in zip(samples, logits.softmax(dim=1), strict=True):
            sample.set_data(dict(pred_scores=scores, pred_label=scores.argmax()))
        return samples


class ClassifierTop(nn.Module):
    """The top that a :class:`~mmcnn.models.backbones.row.Top` describes: last level (N, C, H, W) to (N, num_classes).

    Keys: ``conv``, ``hidden.0``, ``hidden.1``, ..., ``classes``.
    """

    def __init__(self, trunk: Backbone, num_classes: int) -> None:
        super().__init__()
        row, channels = trunk.arch.top, trunk.out_channels[-1]
        act = dict(norm_cfg=trunk.norm_cfg, act_cfg=trunk.arch.act)
        self.conv = nn.Identity()
        if row.conv is not None:
            self.conv = ConvNormAct(channels, trunk.width(row.conv), 1, **act)
            channels = trunk.width(row.conv)
        self.pool = ExportableAdaptiveAvgPool2d(row.pool)
        features = channels * row.pool**2
        self.hidden = nn.ModuleList()
        for out in row.hidden:
            self.hidden.append(nn.Linear(features, trunk.width(out)))
            features = trunk.width(out)
        self.act = build_activation_layer(trunk.arch.act)
        self.dropout = nn.Dropout(row.dropout)
        self.classes = nn.Linear(features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, num_classes)."""
        x = self.pool(self.conv(x)).flatten(1)
        for layer in self.hidden:
            x = self.dropout(self.act(layer(x)))
        return self.classes(x if self.hidden else self.dropout(x))


def list_classifiers(pattern: str = '*') -> list[str]:
    """Return the sorted short names of all networks that match a shell pattern and are classifiers."""
    return [name for name in list_backbones(pattern) if backbone_families()[name].variants[name].top is not None]


def build_classifier(name: str, num_classes: int = 1000, **kwargs: Any) -> Classifier:
    """Build a classifier by the short name of its backbone, with PyTorch's own initialisation.

    Args:
        name: one of :func:`list_classifiers`.
        num_classes: number of classes.
        **kwargs: see :class:`mmcnn.models.backbones.Backbone` (``in_channels``, ``widen_factor``, ``arch``, ...).

    Returns:
        The classifier; ``.image`` holds the size and the preprocessing of its images.

    Raises:
        UsageError: no classifier has this name (similar names are listed), or an argument is invalid.
    """
    known = list_classifiers()
    if name not in known:
        if name in backbone_families():
            raise UsageError(_no_classifier(name))
        raise UsageError(f"unknown classifier '{name}'; {nearest(name, known)}")
    for key in ('type', 'variant'):
        if key in kwargs:
            raise UsageError(f"{key}={kwargs[key]!r}: the name '{name}' already implies this; omit it")
    classifier = Classifier(dict(type=f'mmcnn.{name}', **kwargs), num_classes)
    if kwargs.get('init_cfg'):
        classifier.backbone.init_weights()
    return classifier


def _build_trunk(cfg: dict) -> Backbone:
    if 'out_indices' in cfg:
        raise UsageError(f'out_indices={cfg["out_indices"]}: a classifier always uses the last level; omit it')
    name = cfg.get('variant') or str(cfg['type']).removeprefix('mmcnn.')
    if name in backbone_families():
        row = backbone_families()[name].variants[name]
        cfg = {**cfg, 'arch': {**row.as_classifier, **(cfg.get('arch') or {})}}
    trunk = MODELS.build(cfg)
    if not isinstance(trunk, Backbone):
        raise UsageError(f'{cfg["type"]} is not a backbone of mmcnn, so its classifier is unknown')
    if trunk.arch.top is None:
        raise UsageError(_no_classifier(trunk.variant))
    return trunk


def _no_classifier(name: str) -> str:
    return f'{name} is not a classifier; see mmcnn.list_classifiers()'


def _preprocessor(image: ImageFormat) -> dict:
    """Return a preprocessor config for BGR images; mean and deviation are in the channel order after the swap."""
    return dict(type='mmcnn.ImgDataPreprocessor', mean=image.mean, std=image.std, bgr_to_rgb=image.order == 'rgb')
