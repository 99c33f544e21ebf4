from .step_ema_hook import StepEMAHook
from .yolo_schedule_hook import YOLOScheduleHook, lr_factor, warmup_iters, warmup_value

__all__ = ['StepEMAHook', 'YOLOScheduleHook', 'lr_factor', 'warmup_iters', 'warmup_value']
