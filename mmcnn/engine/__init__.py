"""What runs around a training step: optimizer groups, learning-rate schedule, weight averaging."""

from .hooks import StepEMAHook, YOLOScheduleHook
from .optimizers import YOLOOptimWrapperConstructor

__all__ = ['StepEMAHook', 'YOLOOptimWrapperConstructor', 'YOLOScheduleHook']
