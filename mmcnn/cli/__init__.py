"""The command line: arguments in, options of :mod:`mmcnn.runs` out, errors as exit codes."""

from mmcnn.compat.moved import moved_names

__getattr__ = moved_names(__name__)
