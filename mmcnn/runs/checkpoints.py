"""The last complete checkpoint of a run."""

from __future__ import annotations

from pathlib import Path

from mmcnn.errors import CheckpointError
from mmcnn.weights.checkpoint import Checkpoint

#: Checkpoints of a training, in the names that MMEngine's and our hook give them.
_CHECKPOINTS = ('epoch_*.pth', 'iter_*.pth', 'stopped_at_iter_*.pth')


def checkpoints_in(folder: Path) -> set[Path]:
    """Return the checkpoints of a training in a folder, but for the best one."""
    return {path for pattern in _CHECKPOINTS for path in folder.glob(pattern)}


def last_checkpoint(folder: str | Path) -> tuple[Path, Checkpoint, list[str]] | None:
    """Return the last checkpoint of a run that can be resumed from.

    That is the one that the file ``last_checkpoint`` names; where that one is gone or damaged, the newest of the folder
    that is whole.

    Args:
        folder: the work dir.

    Returns:
        its path, the checkpoint, opened, and a sentence for each that was passed over; None: the run has written none.

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
    """Return a checkpoint that a run can go on from, opened and tried: torch can build all of it.

    Raises:
        CheckpointError: it is missing, broken or unsafe, or a run cannot go on from it.
    """
    checkpoint = Checkpoint.open(path)
    checkpoint.refuse_unresumable()
    checkpoint.refuse_unbuildable()
    return checkpoint


def read_resumable(path: str | Path) -> dict:
    """Return the content of a checkpoint with everything that a run needs to go on.

    Raises:
        CheckpointError: as :func:`~mmcnn.weights.checkpoint.read_checkpoint`, or a run cannot go on from it.
    """
    return open_resumable(path).content
