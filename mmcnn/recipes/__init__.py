"""The training settings of the YOLO recipes: learning rate and momentum, parameter groups, averaged weights."""

from mmcnn.recipes.schedule_hook import ScheduleHook
from mmcnn.recipes.step_ema_hook import StepEMAHook
from mmcnn.recipes.yolo_optim_constructor import YOLOOptimWrapperConstructor

__all__ = ['ScheduleHook', 'StepEMAHook', 'YOLOOptimWrapperConstructor']
