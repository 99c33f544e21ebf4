"""mmcnn: classic convolutional backbones and YOLO detectors for MMDetection 3.x, with one interface."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from mmcnn import compat
from mmcnn.errors import UsageError

from .version import __version__

if TYPE_CHECKING:
    from torch import nn

    from mmcnn.models.backbones import Backbone

compat.apply()

__all__ = [
    'Detector',
    '__version__',
    'build_backbone',
    'build_classifier',
    'count_parameters',
    'fuse',
    'list_backbones',
    'list_classifiers',
    'load_weights',
]


def list_backbones(pattern: str = '*') -> list[str]:
    """Short names of all backbones that match a shell pattern, sorted.

    ``list_backbones('*darknet*')``. Any of them builds with :func:`build_backbone` or in a config as
    ``dict(type='mmcnn.NAME')``.
    """
    from mmcnn.registry import backbone_families

    return sorted(name for name in backbone_families() if fnmatchcase(name, pattern))


def build_backbone(name: str, **kwargs: Any) -> Backbone:
    """A backbone by its short name, with PyTorch's own initialisation unless ``init_cfg`` says otherwise.

    Args:
        name: one of :func:`list_backbones`.
        **kwargs: see :class:`mmcnn.models.backbones.Backbone` (``out_indices``, ``frozen_stages``, ...).

    Returns:
        the backbone; ``.out_channels`` and ``.out_strides`` tell its outputs, fine to coarse.

    Raises:
        UsageError: no backbone has this name (the nearest are listed), or an argument does not fit.
    """
    from mmcnn.nearest import nearest
    from mmcnn.registry import backbone_families

    families = backbone_families()
    if name not in families:
        raise UsageError(f"no backbone is called '{name}'; {nearest(name, families)}")
    backbone = families[name](variant=name, **kwargs)
    if kwargs.get('init_cfg'):
        backbone.init_weights()
    return backbone


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """Total and trainable parameters, counted as Keras counts.

    Total: all parameters plus running mean and variance of BatchNorm (``num_batches_tracked`` is never counted).
    Trainable: parameters with ``requires_grad``. Shared parameters count once.
    """
    parameters = list(module.parameters())
    statistics = [
        buffer.numel()
        for name, buffer in module.named_buffers()
        if name.rsplit('.', 1)[-1] in ('running_mean', 'running_var')
    ]
    total = sum(p.numel() for p in parameters) + sum(statistics)
    return total, sum(p.numel() for p in parameters if p.requires_grad)


def __getattr__(name: str) -> Any:
    # These need MMDetection's models, seconds to import, so only who asks for them pays for it.
    if name == 'Detector':
        from mmcnn.detector import Detector

        return Detector
    if name in ('build_classifier', 'list_classifiers'):
        from mmcnn.models import classifiers

        return getattr(classifiers, name)
    if name == 'load_weights':
        from mmcnn.weights.loading import load_weights

        return load_weights
    if name == 'fuse':
        from mmcnn.models.fuse import fuse

        return fuse
    raise AttributeError(f"module 'mmcnn' has no attribute '{name}'")
