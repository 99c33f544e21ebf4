"""How a training behaves, and what it starts from: ``on_nan``, ``patience``, ``resume``."""

from __future__ import annotations

import math
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.runner import EpochBasedTrainLoop

from mmcnn.config.load import dicts_in
from mmcnn.config.parts import metrics_of
from mmcnn.config.variables import Say
from mmcnn.console.layout import number
from mmcnn.errors import UsageError
from mmcnn.evaluation.kept_detections import DETECTIONS
from mmcnn.models.wiring import is_classifier
from mmcnn.runs.checkpoints import last_checkpoint, open_resumable
from mmcnn.weights.addresses import is_address, resolve
from mmcnn.weights.checkpoint import Checkpoint

#: Metrics whose first number is an AP; of those of others, MMEngine may not know whether a higher one is better.
_HAS_AP = ('CocoMetric', 'VOCMetric')


def use_own_parts(cfg: Config) -> None:
    """Give a config of MMDetection the training loop and the checkpoint hook of this package, in place.

    So its runs can be stopped and resumed and, if they are measured by an AP, keep their best checkpoint. Both are
    subclasses of MMEngine's, which stay if their names have a scope (``mmengine.CheckpointHook``) or if checkpoints go
    to a remote folder.
    """
    if (cfg.get('train_cfg') or {}).get('type') not in ('EpochBasedTrainLoop', EpochBasedTrainLoop):
        return
    cfg.train_cfg.type = 'mmcnn.ResumableTrainLoop'
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if hook.get('type') in ('CheckpointHook', CheckpointHook) and '://' not in str(hook.get('out_dir')):
        hook.type = 'mmcnn.AtomicCheckpointHook'
        metrics = [metric.get('type') for _, metric in metrics_of(cfg, 'val_evaluator')]
        if metrics and getattr(metrics[0], '__name__', str(metrics[0])).rpartition('.')[2] in _HAS_AP:
            hook.setdefault('save_best', 'auto')


def set_on_nan(cfg: Config, on_nan: str | None) -> None:
    """Set how the training treats a loss or a gradient that is not finite.

    Raises:
        UsageError: the config's training loop has no such option.
    """
    if on_nan is None:
        return
    kind = cfg.train_cfg.get('type')
    if kind != 'mmcnn.ResumableTrainLoop':
        raise UsageError(f'on_nan={on_nan} needs train_cfg.type=mmcnn.ResumableTrainLoop, but the config has {kind}')
    cfg.train_cfg.on_nan = on_nan


def set_until_epoch(cfg: Config, until_epoch: int | None) -> None:
    """Pause the training after an epoch of its schedule.

    Raises:
        UsageError: the config's training loop has no such option, or the schedule is not longer.
    """
    if until_epoch is None:
        return
    kind, length = cfg.train_cfg.get('type'), cfg.train_cfg.get('max_epochs')
    if kind != 'mmcnn.ResumableTrainLoop':
        raise UsageError(
            f'until_epoch={until_epoch} needs train_cfg.type=mmcnn.ResumableTrainLoop, but the config has {kind}'
        )
    if until_epoch > length:
        raise UsageError(f'until_epoch={until_epoch}: it must be below the length of the run, {length} epochs')
    cfg.train_cfg.until_epoch = until_epoch


def keep_detections(cfg: Config) -> None:
    """Make the validations of a detector store the detections of the last one in its work dir.

    Raises:
        UsageError: no metric of the config supports it.
    """
    metrics = metrics_of(cfg, 'val_evaluator')
    able = [metric for _, metric in metrics if metric.get('type') == 'mmcnn.CocoMetric']
    if not able:
        raise UsageError(
            f'keep_detections=True needs a val_evaluator of type mmcnn.CocoMetric, but the config has '
            f'{", ".join(str(metric.get("type")) for _, metric in metrics) or "none"}'
        )
    able[0].detections_file = str(Path(cfg.work_dir) / DETECTIONS)


def set_patience(cfg: Config, patience: int | None, say: Say = print) -> None:
    """End the training early after this number of validations in a row without improvement of the best metric.

    Args:
        cfg: with the length of the run.
        patience: number of validations; None: train to the end.
        say: called with a sentence if the run has too few validations.

    Raises:
        UsageError: there are no validations.
    """
    if patience is None:
        return
    if cfg.get('val_evaluator') is None:
        raise UsageError(f'patience={patience}: the config has no validation (val_evaluator)')
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    best = checkpoint.get('save_best')
    best = best[0] if isinstance(best, list | tuple) and best else best
    monitor = best if isinstance(best, str) and best != 'auto' else None
    monitor = monitor or ('accuracy/top1' if is_classifier(cfg.model) else 'coco/bbox_mAP')
    rule = checkpoint.get('rule')
    hook = dict(type='mmcnn.ResumableEarlyStoppingHook', monitor=monitor, patience=patience)
    hook |= dict(rule=rule) if isinstance(rule, str) else {}
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]
    length, interval = cfg.train_cfg.get('max_epochs'), cfg.train_cfg.get('val_interval', 1)
    if length is not None and patience >= (count := math.ceil(length / interval)):
        each = 'epoch' if interval == 1 else number(interval, 'epoch')
        say(f'note: patience={patience} cannot end a run of {number(count, "validation")} (one after every {each})')


def check_initial_weights(cfg: Config, resume: bool | str | Path = False, say: Say = print) -> Checkpoint | None:
    """Determine what the run starts from, and open the files before any work is lost.

    Args:
        cfg: with its work dir and ``load_from``; ``resume`` and ``load_from`` are set for MMEngine's Runner.
        resume: True: from the last checkpoint in the work dir, if there is one; a path: from that one.
        say: called with sentences about the checkpoint that was found, or not found.

    Returns:
        the opened file that the run is resumed or starts from; None: it starts from random weights.

    Raises:
        CheckpointError: the file is missing, broken or unsafe, or has no state to resume; no weights have this name.
        UsageError: ``load_from`` is an address.
    """
    load_from = cfg.get('load_from')
    if not resume and cfg.get('resume'):  # from cfg_options or the config
        resume = load_from or True
    if resume:
        checkpoint = _resume_from(cfg, resume, say)
        if checkpoint is not None:
            return checkpoint
        cfg.resume = False
    checkpoint = None
    if load_from:
        if is_address(load_from):  # MMEngine would execute code in a downloaded file
            raise UsageError(f'load_from={load_from} is an address: download the file and give its path')
        checkpoint = Checkpoint.open(load_from)
        checkpoint.state_dict  # noqa: B018  raises an error if they cannot be read
    for node in dicts_in(cfg.get('model')):
        if node.get('type') == 'Pretrained':
            if is_address(node['checkpoint']):
                resolve(node['checkpoint'])
            else:
                Checkpoint.open(node['checkpoint']).state_dict  # noqa: B018  likewise
    return checkpoint


def resumed_checkpoint(cfg: Config, resume: bool | str | Path) -> tuple[Path, Checkpoint, list[str]] | None:
    """Return what a run is resumed from, like :func:`~mmcnn.runs.checkpoints.last_checkpoint`.

    Args:
        cfg: with its work dir.
        resume: True: the last checkpoint there; a path: this one.

    Raises:
        CheckpointError: the file is missing, broken or unsafe, or has no state to resume.
    """
    return last_checkpoint(cfg.work_dir) if resume is True else (Path(resume), open_resumable(resume), [])


def _resume_from(cfg: Config, resume: bool | str | Path, say: Say) -> Checkpoint | None:
    """Make the config resume from a checkpoint; None: there is none."""
    found = resumed_checkpoint(cfg, resume)
    if found is None:
        say(f'there is no checkpoint in {cfg.work_dir} yet: the run starts from the beginning')
        if earlier := sorted(path.name for path in Path(cfg.work_dir).glob('epoch_*.pth')):
            say(f'note: {", ".join(earlier)} are from an earlier run; to continue from one of them, use resume=FILE')
        return None
    path, checkpoint, passed_over = found
    for reason in passed_over:
        say(f'note: {reason}; the run continues from {path} instead')
    cfg.resume, cfg.load_from = True, str(path)
    done, total = checkpoint.meta.get('epoch', 0), cfg.train_cfg.get('max_epochs')
    say(f'continuing from {path}: {done} of {total} epochs in total are done')
    _keep_statistics(cfg, checkpoint, say)
    return checkpoint


def _keep_statistics(cfg: Config, checkpoint: Checkpoint, say: Say) -> None:
    """Let a run that began without :class:`~mmcnn.engine.BNStatisticsHook`, in release 0.1, continue without it."""
    own, recorded = (each.get('default_hooks') or {} for each in (cfg, checkpoint.entries))
    hook = own.get('bn_statistics')
    began_without = recorded and (recorded.get('bn_statistics') or {'windows': 0}).get('windows') == 0
    if hook and began_without and hook.get('windows') != 0:
        hook.windows = 0  # otherwise its final weights would differ
        say('note: the run began without recomputed BatchNorm statistics, which is kept')
