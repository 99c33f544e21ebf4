"""The name that :mod:`mmcnn.zoo.reference_table` had until release 0.1, kept for one release."""

import warnings

from mmcnn.zoo.reference_table import *  # noqa: F403

warnings.warn(
    'mmcnn.models.reference_table has moved: import mmcnn.zoo.reference_table', DeprecationWarning, stacklevel=2
)
