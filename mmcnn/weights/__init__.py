"""Weights from files: read as data, loaded in full or with a word about what is not."""

from mmcnn.weights.checkpoint import CheckpointError, LoadReport, load_state, read_checkpoint, state_dict_of

__all__ = ['CheckpointError', 'LoadReport', 'load_state', 'read_checkpoint', 'state_dict_of']
