"""A run that has come to its end: what it has left, and that nothing more is to be done."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process

from mmcnn.engine.atomic_checkpoint_hook import BEST, LAST
from mmcnn.engine.atomic_file import write_whole
from mmcnn.runs.results import TrainResult
from mmcnn.runs.work_dirs import RECORD, read_record
from mmcnn.weights.checkpoint import Checkpoint

_FINISHED = 'finished'


def note_finished(folder: Path, cfg: Config, result: TrainResult) -> None:
    """Writes into the record of a run that it has come to its end, and with which numbers."""
    if not is_main_process():
        return
    record = read_record(folder) or {}
    unit, length = _length(cfg)
    record[_FINISHED] = {
        unit: length,
        'metrics': _without_nan(result.metrics),
        'class_ap': _without_nan(result.class_ap),
        'history': [_without_nan(entry) for entry in result.history],
    }
    content = json.dumps(record, indent=1, ensure_ascii=False) + '\n'
    write_whole(folder / RECORD, lambda file: file.write(content.encode()))


def nothing_left(cfg: Config, checkpoint: Checkpoint | None) -> tuple[str, TrainResult] | None:
    """A sentence and the result of a run that is to be continued and has nothing left to train; None: it has.

    A run that was killed after its last step has its last validation left.

    Args:
        cfg: complete, with ``resume`` and the work dir.
        checkpoint: what the run is resumed from.
    """
    if not cfg.get('resume') or checkpoint is None:
        return None
    unit, length = _length(cfg)
    done = checkpoint.meta.get('epoch' if unit == 'epochs' else 'iter', 0)
    folder = Path(cfg.work_dir).absolute()
    end = (read_record(folder) or {}).get(_FINISHED)
    end = end if isinstance(end, dict) else {}
    if length is None or done < length or (done == length and end.get(unit, 0) < length):
        return None
    best, last = (path if path.exists() else None for path in (folder / BEST, folder / LAST))
    result = TrainResult(
        folder,
        best,
        last,
        _with_nan(end.get('metrics', {})),
        _with_nan(end.get('class_ap', {})),
        [_with_nan(entry) for entry in end.get('history', [])],
    )
    story = (
        f'{done} of {length} {unit} are done'
        if done == length
        else f'{done} {unit} are done, and {length} were asked for'
    )
    more = '--epochs' if unit == 'epochs' else 'train_cfg.max_iters'
    return f'nothing left to train: {story} ({checkpoint.path}); more of them ({more}) continue the run', result


def _length(cfg: Config) -> tuple[str, int | None]:
    """What a training counts, and how many of them it has."""
    if 'max_iters' in cfg.train_cfg:
        return 'iterations', cfg.train_cfg.max_iters
    return 'epochs', cfg.train_cfg.get('max_epochs')


def _without_nan(numbers: dict[str, Any]) -> dict[str, Any]:
    """Numbers as JSON has them."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in numbers.items()}


def _with_nan(numbers: dict[str, Any]) -> dict[str, Any]:
    return {key: math.nan if value is None else value for key, value in numbers.items()}
