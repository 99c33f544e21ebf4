"""The command line: arguments become options of :mod:`mmcnn.runs`, errors become exit codes."""

from mmcnn.compat.moved import moved_names

__getattr__ = moved_names(__name__)
