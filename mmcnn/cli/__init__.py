"""The command line: arguments in, options of :mod:`mmcnn.runs` out, errors as exit codes."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

#: What stood here up to release 0.1, and where it is now.
_MOVED = {
    'UsageError': 'mmcnn.errors',
    'check_classes': 'mmcnn.runs.data',
    'check_initial_weights': 'mmcnn.runs.training',
    'config_and_checkpoint': 'mmcnn.runs.configs',
    'describe_batches': 'mmcnn.runs.batches',
    'friendly_errors': 'mmcnn.cli.errors',
    'inner_dataset': 'mmcnn.runs.data',
    'is_classifier': 'mmcnn.runs.model',
    'load_config': 'mmcnn.runs.configs',
    'merge_options': 'mmcnn.runs.configs',
    'set_amp': 'mmcnn.runs.training',
    'set_batches': 'mmcnn.runs.batches',
    'set_cache': 'mmcnn.runs.data',
    'set_data': 'mmcnn.runs.data',
    'set_img_size': 'mmcnn.runs.img_size',
    'set_on_nan': 'mmcnn.runs.training',
    'train_box_sizes': 'mmcnn.runs.anchors',
    'use_device': 'mmcnn.runs.device',
    'warn_of_anchors': 'mmcnn.runs.anchors',
    'wire_model': 'mmcnn.runs.model',
    'write_between_marks': 'mmcnn.cli.files',
}


def __getattr__(name: str) -> Any:
    if name not in _MOVED:
        raise AttributeError(f"module 'mmcnn.cli' has no attribute '{name}'")
    warnings.warn(f'mmcnn.cli.{name} has moved to {_MOVED[name]}', DeprecationWarning, stacklevel=2)
    return getattr(importlib.import_module(_MOVED[name]), name)
