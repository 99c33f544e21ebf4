"""Workarounds for broken dependencies; each module names the upstream issue.

``import mmcnn`` imports none of those dependencies: it calls :func:`apply`, which installs a finder that patches each
one when it is imported. :func:`check` verifies that mmcv and a recent torch are installed once mmcnn needs them.
"""

from mmcnn.compat.finder import apply
from mmcnn.compat.requirements import check

__all__ = ['apply', 'check']
