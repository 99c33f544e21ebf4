"""The last complete checkpoint of a run."""

from __future__ import annotations

from pathlib import Path

from mmcnn.errors import CheckpointError
from mmcnn.weights.checkpoint import Checkpoint

#: Names of a training's checkpoints, as MMEngine's and our hook write them.
_CHECKPOINTS = ('epoch_*.pth', 'iter_*.pth', 'stopped_at_iter_*.pth')


def checkpoints_in(folder: Path) -> set[Path]:
    """Return the checkpoints of a training in a folder, except for the best one."""
    return {path for pattern in _CHECKPOINTS for path in folder.glob(pattern)}


def last_checkpoint(folder: str | Path) -> tuple[Path, Checkpoint, list[str]] | None:
    """Return the last checkpoint of a run that can be resumed from.

    This is the checkpoint that the file ``last_checkpoint`` names; if that one is missing or damaged, the newest
    complete one in the folder.

    Args:
        folder: the work dir.

    Returns:
        its path, the opened checkpoint, and a sentence about each one that was skipped; None: the run has none.

    Raises:
        CheckpointError: none of them can be used.
    """
    folder = Path(folder)
    record = folder / 'last_checkpoint'
    if not record.is_file():
        return None
    named = Path(record.read_text(encoding='utf-8', errors='replace').strip())
    # The folder may have been moved since.
    first = folder / named.name if (folder / named.name).is_file() else named
    others = checkpoints_in(folder) - {first}
    refused: list[CheckpointError] = []
    for path in [first, *sorted(others, key=lambda each: each.stat().st_mtime, reverse=True)]:
        try:
            return path, open_resumable(path), [str(error) for error in refused]
        except CheckpointError as error:
            refused.append(error)
    raise refused[0]


def open_resumable(path: str | Path) -> Checkpoint:
    """Return an opened checkpoint from which a run can continue; torch has built all of it for a test.

    Raises:
        CheckpointError: it is missing, broken or unsafe, or a run cannot continue from it.
    """
    checkpoint = Checkpoint.open(path)
    checkpoint.refuse_unresumable()
    checkpoint.refuse_unbuildable()
    return checkpoint


def read_resumable(path: str | Path) -> dict:
    """Return the content of a checkpoint with everything that a run needs to continue.

    Raises:
        CheckpointError: as in :func:`~mmcnn.weights.checkpoint.read_checkpoint`, or a run cannot continue from it.
    """
    return open_resumable(path).content
