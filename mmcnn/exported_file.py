"""Files made by ``mmcnn export``, recognised by their suffixes, and the runtimes that read them."""

from __future__ import annotations

import os
from pathlib import Path

#: Suffixes that mmcnn itself can run: ONNX and OpenVINO.
RUNNABLE = ('.onnx', '.xml')
_READERS = {
    **dict.fromkeys(RUNNABLE, 'mmcnn.runtime.Detector, mmcnn infer and mmcnn test'),
    '.pt2': 'torch.export.load',
}


def is_exported(path: object) -> bool:
    """Return whether a path is that of an exported network that :mod:`mmcnn.runtime` reads."""
    return isinstance(path, str | os.PathLike) and Path(path).suffix.lower() in RUNNABLE


def reader_of(path: Path) -> str | None:
    """Return what reads an exported network, in words; None if the path is not that of one."""
    return _READERS.get(path.suffix.lower())
