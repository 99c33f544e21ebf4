"""The name that the modules of :mod:`mmcnn.zoo` had until release 0.1, kept for one release."""

import warnings

from mmcnn.zoo.measure import *  # noqa: F403
from mmcnn.zoo.table import *  # noqa: F403

warnings.warn(
    'mmcnn.models.zoo_table has moved: import mmcnn.zoo.table (its forms) or mmcnn.zoo.measure (its numbers)',
    DeprecationWarning,
    stacklevel=2,
)
