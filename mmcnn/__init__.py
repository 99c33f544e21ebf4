"""mmcnn: classic convolutional backbones and YOLO detectors for MMDetection 3.x, with one interface.

``import mmcnn`` loads neither torch nor MMEngine; each public name loads what it needs when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mmcnn import compat
from mmcnn.version import __version__

if TYPE_CHECKING:
    from mmcnn import errors, ops
    from mmcnn.compare.api import compare_backbones
    from mmcnn.config.swap import swap_backbone
    from mmcnn.deployment.export import export
    from mmcnn.inference.detections import Detections
    from mmcnn.inference.detector import Detector
    from mmcnn.models.classifiers import build_classifier, list_classifiers
    from mmcnn.models.costs import count_parameters
    from mmcnn.models.families import build_backbone, list_backbones
    from mmcnn.models.fuse import fuse
    from mmcnn.runs.api import check_data, evaluate, train
    from mmcnn.runs.results import EvaluateResult, TrainResult
    from mmcnn.weights.loading import load_weights

compat.apply()

__all__ = [
    'Detections',
    'Detector',
    'EvaluateResult',
    'TrainResult',
    '__version__',
    'build_backbone',
    'build_classifier',
    'check_data',
    'compare_backbones',
    'count_parameters',
    'errors',
    'evaluate',
    'export',
    'fuse',
    'list_backbones',
    'list_classifiers',
    'load_weights',
    'ops',
    'swap_backbone',
    'train',
]

#: Public name -> its module; None if the name is a module of the package itself.
_MODULE_OF = {
    'Detections': 'mmcnn.inference.detections',
    'Detector': 'mmcnn.inference.detector',
    'EvaluateResult': 'mmcnn.runs.results',
    'TrainResult': 'mmcnn.runs.results',
    'build_backbone': 'mmcnn.models.families',
    'build_classifier': 'mmcnn.models.classifiers',
    'check_data': 'mmcnn.runs.api',
    'compare_backbones': 'mmcnn.compare.api',
    'count_parameters': 'mmcnn.models.costs',
    'errors': None,
    'evaluate': 'mmcnn.runs.api',
    'export': 'mmcnn.deployment.export',
    'fuse': 'mmcnn.models.fuse',
    'list_backbones': 'mmcnn.models.families',
    'list_classifiers': 'mmcnn.models.classifiers',
    'load_weights': 'mmcnn.weights.loading',
    'ops': None,
    'swap_backbone': 'mmcnn.config.swap',
    'train': 'mmcnn.runs.api',
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'mmcnn' has no attribute '{name}'")
    module = _MODULE_OF[name]
    try:
        return getattr(import_module(module), name) if module else import_module(f'mmcnn.{name}')
    except ModuleNotFoundError as error:
        if error.name == 'mmcv':
            compat.check()  # its error says what to install
        raise


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
