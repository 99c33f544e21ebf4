"""Finished runs: their results, and the check that nothing is left to train."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from mmcnn.engine.atomic_checkpoint_hook import BEST, LAST
from mmcnn.engine.atomic_file import write_whole
from mmcnn.engine.early_stopping_hook import STATE, ResumableEarlyStoppingHook
from mmcnn.runs.history_hook import counts_epochs
from mmcnn.runs.results import TrainResult
from mmcnn.runs.work_dirs import RECORD, read_record
from mmcnn.weights.checkpoint import Checkpoint

_FINISHED, _EARLY = 'finished', 'ended_early'


@dataclass(frozen=True)
class EarlyEnd:
    """The end of a run that a hook has ended before its full length.

    Attributes:
        done: number of trained epochs, or iterations if the training counts those.
        story: the reason; '' if the hook gives none.
        monitor: the metric that did not improve; None: it ended for another reason.
        waited: number of validations in a row without improvement.
    """

    done: int
    story: str = ''
    monitor: str | None = None
    waited: int = 0

    @classmethod
    def of(cls, runner: Runner) -> EarlyEnd | None:
        """Return the early end of a runner whose training is over; None: it was trained to its full length."""
        done, length = (runner.epoch, runner.max_epochs) if counts_epochs(runner) else (runner.iter, runner.max_iters)
        if done >= length or not getattr(runner.train_loop, 'stop_training', False):
            return None
        if pause := getattr(runner.train_loop, 'pause', None):
            return cls(done, pause)
        for hook in runner.hooks:
            if isinstance(hook, ResumableEarlyStoppingHook) and hook.story:
                return cls(done, hook.story, hook.monitor, runner.message_hub.get_info(STATE)['waited'])
        return cls(done)


def note_finished(folder: Path, cfg: Config, result: TrainResult, early: EarlyEnd | None = None) -> None:
    """Add the end of a run and its metrics to its record.

    Args:
        folder: folder of the run.
        cfg: the complete config of the training.
        result: result of the run.
        early: its end, if that was before its full length.
    """
    if not is_main_process():
        return
    record = read_record(folder) or {}
    unit, length = _length(cfg)
    record[_FINISHED] = {
        unit: length if early is None else early.done,
        **({} if early is None else {_EARLY: asdict(early)}),
        'metrics': _without_nan(result.metrics),
        'class_ap': _without_nan(result.class_ap),
        'history': [_without_nan(entry) for entry in result.history],
    }
    content = json.dumps(record, indent=1, ensure_ascii=False) + '\n'
    write_whole(folder / RECORD, lambda file: file.write(content.encode()))


def nothing_left(cfg: Config, checkpoint: Checkpoint | None) -> tuple[str, TrainResult] | None:
    """Return a sentence and the result of a run to continue that has nothing left to train; None: it has.

    A run that was killed after its last step still has its last validation. One that has ended early still has its
    remaining epochs, unless it is continued with a patience that is already exhausted.

    Args:
        cfg: complete, with ``resume`` and the work dir.
        checkpoint: the checkpoint to resume from.
    """
    if not cfg.get('resume') or checkpoint is None:
        return None
    unit, length = _length(cfg)
    done = checkpoint.meta.get('epoch' if unit == 'epochs' else 'iter', 0)
    folder = Path(cfg.work_dir).absolute()
    end = (read_record(folder) or {}).get(_FINISHED)
    end = end if isinstance(end, dict) else {}
    early = _early_end(end) if end.get(unit) == done else None
    out_of_patience = early is not None and length is not None and done < length and _has_run_out(cfg, early)
    if not out_of_patience and (length is None or done < length or (done == length and end.get(unit, 0) < length)):
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
    if out_of_patience:
        return (
            f'nothing left to train: the run ended early, after {done} of {length} {unit}: {early.story} '
            f'({checkpoint.path}); to continue it, leave out patience or use one above {early.waited}',
            result,
        )
    story = (
        f'{done} of {length} {unit} are done'
        if done == length
        else f'{done} {unit} are done, and {length} were requested'
    )
    more = '--epochs' if unit == 'epochs' else 'train_cfg.max_iters'
    return f'nothing left to train: {story} ({checkpoint.path}); to continue the run, increase {more}', result


def _early_end(end: dict[str, Any]) -> EarlyEnd | None:
    """Return the early end in a record; None if there is none."""
    try:
        return EarlyEnd(**end[_EARLY])
    except (KeyError, TypeError):
        return None


def _has_run_out(cfg: Config, early: EarlyEnd) -> bool:
    """Return whether the patience of a config is at most the number of validations that a run has waited for."""
    kinds = (ResumableEarlyStoppingHook, f'mmcnn.{ResumableEarlyStoppingHook.__name__}')
    hooks = [hook for hook in cfg.get('custom_hooks') or [] if hook.get('type') in kinds]
    return any(hook.get('monitor') == early.monitor and hook.get('patience', 5) <= early.waited for hook in hooks)


def _length(cfg: Config) -> tuple[str, int | None]:
    """Return what a training counts, and its length."""
    if 'max_iters' in cfg.train_cfg:
        return 'iterations', cfg.train_cfg.max_iters
    return 'epochs', cfg.train_cfg.get('max_epochs')


def _without_nan(numbers: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers as JSON supports them."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in numbers.items()}


def _with_nan(numbers: dict[str, Any]) -> dict[str, Any]:
    return {key: math.nan if value is None else value for key, value in numbers.items()}
