"""What exists only because a dependency is broken; each part names the upstream issue.

``import mmcnn`` imports none of those packages: :func:`apply` puts a finder in place that does its work when one of
them is imported. What mmcnn itself requires of them, :func:`check` looks at when mmcnn needs them.
"""

from mmcnn.compat.finder import apply
from mmcnn.compat.requirements import check

__all__ = ['apply', 'check']
