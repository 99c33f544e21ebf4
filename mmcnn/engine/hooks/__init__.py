from mmcnn.compat.moved import moved_names

from .atomic_checkpoint_hook import AtomicCheckpointHook
from .schedule_hook import ScheduleHook, lr_factor, warmup_iters, warmup_value
from .step_ema_hook import StepEMAHook

__all__ = [
    'AtomicCheckpointHook',
    'ScheduleHook',
    'StepEMAHook',
    'lr_factor',
    'warmup_iters',
    'warmup_value',
]

__getattr__ = moved_names(__name__)
