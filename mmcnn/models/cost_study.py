"""The name that :mod:`mmcnn.zoo.cost_study` had until release 0.1, kept for one release."""

import warnings

from mmcnn.zoo.cost_study import *  # noqa: F403

warnings.warn('mmcnn.models.cost_study has moved: import mmcnn.zoo.cost_study', DeprecationWarning, stacklevel=2)
