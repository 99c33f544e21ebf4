from .atomic_checkpoint_hook import AtomicCheckpointHook
from .close_mosaic_hook import CloseMosaicHook
from .console_hook import ConsoleHook
from .history_hook import HistoryHook
from .schedule_hook import ScheduleHook, lr_factor, warmup_iters, warmup_value
from .step_ema_hook import StepEMAHook

__all__ = [
    'AtomicCheckpointHook',
    'CloseMosaicHook',
    'ConsoleHook',
    'HistoryHook',
    'ScheduleHook',
    'StepEMAHook',
    'lr_factor',
    'warmup_iters',
    'warmup_value',
]
