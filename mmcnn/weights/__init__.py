"""Weights from files of any source: read as data, and loaded completely or with a report of what is missing."""

from mmcnn.errors import CheckpointError
from mmcnn.weights.checkpoint import read_checkpoint, state_dict_of
from mmcnn.weights.report import LoadReport

__all__ = ['CheckpointError', 'LoadReport', 'read_checkpoint', 'state_dict_of']
