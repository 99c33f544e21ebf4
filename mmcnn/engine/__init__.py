"""A training of any model that may be killed at any moment: its loop and checkpoints, its guards and its watches."""

from mmcnn.compat.moved import moved_names
from mmcnn.engine.atomic_checkpoint_hook import AtomicCheckpointHook
from mmcnn.engine.bn_statistics_hook import BNStatisticsHook
from mmcnn.engine.resumable_train_loop import ResumableTrainLoop

__all__ = ['AtomicCheckpointHook', 'BNStatisticsHook', 'ResumableTrainLoop']

__getattr__ = moved_names(__name__)
