"""What runs around a training step: optimizer groups, learning-rate schedule, weight averaging."""

from .hooks import ScheduleHook, StepEMAHook
from .optimizers import YOLOOptimWrapperConstructor

__all__ = ['ScheduleHook', 'StepEMAHook', 'YOLOOptimWrapperConstructor']
