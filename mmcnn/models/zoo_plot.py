"""The name that :mod:`mmcnn.zoo.plot` had until release 0.1, kept for one release."""

import warnings

from mmcnn.zoo.plot import *  # noqa: F403

warnings.warn('mmcnn.models.zoo_plot has moved: import mmcnn.zoo.plot', DeprecationWarning, stacklevel=2)
