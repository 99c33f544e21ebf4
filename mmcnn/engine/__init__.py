"""Training that can be killed at any moment, for any model: loop, checkpoints, guards and watchdogs."""

from mmcnn.compat.moved import moved_names
from mmcnn.engine.atomic_checkpoint_hook import AtomicCheckpointHook
from mmcnn.engine.bfloat16_optim_wrapper import BFloat16OptimWrapper
from mmcnn.engine.bn_statistics_hook import BNStatisticsHook
from mmcnn.engine.early_stopping_hook import ResumableEarlyStoppingHook
from mmcnn.engine.resumable_train_loop import ResumableTrainLoop
from mmcnn.engine.vis_backends import MLflowVisBackend, TrackioVisBackend

__all__ = [
    'AtomicCheckpointHook',
    'BFloat16OptimWrapper',
    'BNStatisticsHook',
    'MLflowVisBackend',
    'ResumableEarlyStoppingHook',
    'ResumableTrainLoop',
    'TrackioVisBackend',
]

__getattr__ = moved_names(__name__)
