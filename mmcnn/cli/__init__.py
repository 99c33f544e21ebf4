"""The command line: arguments in, options of :mod:`mmcnn.runs` out, errors as exit codes."""

from __future__ import annotations

import sys
from types import ModuleType

from mmcnn.cli.moved import moved

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

#: Modules that stood here up to release 0.1; those of the same name in mmcnn.runs have what they held.
_MOVED_MODULES = ('batches', 'data', 'device', 'img_size', 'model', 'training')

__getattr__ = moved(__name__, _MOVED)

for _name in _MOVED_MODULES:
    _module = ModuleType(f'{__name__}.{_name}')
    _module.__getattr__ = moved(_module.__name__, f'mmcnn.runs.{_name}')
    globals()[_name] = sys.modules[_module.__name__] = _module
