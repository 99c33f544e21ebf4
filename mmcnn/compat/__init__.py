"""Workarounds for broken dependencies; each module names the upstream issue.

``import mmcnn`` imports none of those dependencies: it calls :func:`apply`, which puts a finder in place that patches
each one when it is imported. :func:`check` makes sure that mmcv and a recent torch are there once mmcnn needs them.
"""

from mmcnn.compat.finder import apply
from mmcnn.compat.requirements import check

__all__ = ['apply', 'check']
