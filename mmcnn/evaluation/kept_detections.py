"""Detections of an evaluation in a compressed file, from which every metric can be recomputed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from mmcnn.engine.atomic_file import write_whole
from mmcnn.errors import DataError

#: Name of the file in the folder of a run.
DETECTIONS = 'detections.npz'
#: Arrays of the file, and the number of columns of a detection's row in each.
_COLUMNS = dict(image_ids=1, boxes=4, scores=1, category_ids=1)
_TYPES = dict(image_ids=np.int64, boxes=np.float32, scores=np.float32, category_ids=np.int64)


def write_detections(path: str | Path, rows: np.ndarray, limit: int = 100) -> None:
    """Write the detections that count in COCO's numbers, compressed; the folder is created.

    Args:
        path: path of the file.
        rows: (D, 7): image id, x, y, w, h in pixels of the original image, score, category id. The file stores boxes
            and scores in single precision.
        limit: maximum number per class and image; those with the highest scores are kept, in the original order.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = np.split(rows[_counted(rows, limit)], np.cumsum([*_COLUMNS.values()])[:-1], axis=1)
    arrays = {
        name: (part if _COLUMNS[name] > 1 else part[:, 0]).astype(_TYPES[name])
        for name, part in zip(_COLUMNS, parts, strict=True)
    }
    write_whole(path, lambda file: np.savez_compressed(file, **arrays))


def _counted(rows: np.ndarray, limit: int) -> np.ndarray:
    """Return (D,) bool: whether a detection is among the ``limit`` best of its image and class."""
    order = np.lexsort((-rows[:, 5], rows[:, 6], rows[:, 0]))  # stable, like COCO's sort
    groups = rows[order][:, [0, 6]]
    starts = np.flatnonzero(np.append(True, (groups[1:] != groups[:-1]).any(axis=1)))[: len(rows)]
    sizes = np.diff(np.append(starts, len(rows)))
    counted = np.empty(len(rows), bool)
    counted[order] = np.arange(len(rows)) - np.repeat(starts, sizes) < limit
    return counted


def read_detections(path: str | Path) -> np.ndarray:
    """Return the rows that :func:`write_detections` has written, in float64.

    Raises:
        DataError: the file does not exist or has another format.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = [file[name].reshape(-1, columns) for name, columns in _COLUMNS.items()]
        return np.concatenate(arrays, axis=1, dtype=np.float64)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a file of a run's detections: {error}", str(path)) from error
