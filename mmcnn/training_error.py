"""Moved to :mod:`mmcnn.errors`; this name is kept for one release."""

import warnings

from mmcnn.errors import TrainingError

__all__ = ['TrainingError']

warnings.warn(
    'mmcnn.training_error has moved: import TrainingError from mmcnn.errors', DeprecationWarning, stacklevel=2
)
