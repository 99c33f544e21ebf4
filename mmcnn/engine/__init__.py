"""What runs around a training step: loop, checkpoints, optimizer groups, learning-rate schedule, weight averaging."""

from .hooks import AtomicCheckpointHook, ScheduleHook, StepEMAHook
from .loops import ResumableTrainLoop
from .optimizers import YOLOOptimWrapperConstructor

__all__ = [
    'AtomicCheckpointHook',
    'ResumableTrainLoop',
    'ScheduleHook',
    'StepEMAHook',
    'YOLOOptimWrapperConstructor',
]
