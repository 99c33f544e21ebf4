"""The networks; importing this package registers all of them with MMEngine."""

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
