"""Weights from files of every source: read as data, loaded in full or with a word about what is not."""

from mmcnn.errors import CheckpointError
from mmcnn.weights.checkpoint import read_checkpoint, state_dict_of
from mmcnn.weights.report import LoadReport

__all__ = ['CheckpointError', 'LoadReport', 'read_checkpoint', 'state_dict_of']
