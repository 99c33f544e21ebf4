"""Networks; importing this registers them all with MMEngine."""

from . import backbones, classifiers, data_preprocessors, dense_heads, losses, necks, roi_heads, task_modules, wiring

__all__ = [
    'backbones',
    'classifiers',
    'data_preprocessors',
    'dense_heads',
    'losses',
    'necks',
    'roi_heads',
    'task_modules',
    'wiring',
]
