"""Training or testing with a completed config, and the resulting plots."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import barrier, broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner, find_latest_checkpoint

from mmcnn.compat.moved import renamed_arguments
from mmcnn.console import Console
from mmcnn.engine.atomic_checkpoint_hook import AtomicCheckpointHook
from mmcnn.engine.early_stopping_hook import ResumableEarlyStoppingHook
from mmcnn.engine.ranks import check_alike, join_ranks
from mmcnn.evaluation import CocoMetric
from mmcnn.inference.detector import Detector, read_image
from mmcnn.inference.precision import dtype_called, name_of
from mmcnn.models.classifiers import Classifier
from mmcnn.models.fuse import fuse
from mmcnn.models.mixed_precision import use_mixed_precision
from mmcnn.plots.boxes import draw_boxes, prediction_grid
from mmcnn.plots.curves import plot_curves
from mmcnn.runs.console_hook import ConsoleHook
from mmcnn.runs.console_runner import runner_for
from mmcnn.runs.fine_tuning import FineTuningHook
from mmcnn.runs.first_use import FirstUseHook
from mmcnn.runs.folding_hook import FoldingHook
from mmcnn.runs.head import evaluation_rows, file_datasets, shown_path, training_rows, unwrapped
from mmcnn.runs.history_hook import HistoryHook, counts_epochs
from mmcnn.runs.performance import PerformanceHook, use_tf32
from mmcnn.runs.precision_hook import PrecisionHook
from mmcnn.runs.results import EvaluateResult, TrainResult, by_name, main_numbers, nothing_rows, write_metrics
from mmcnn.runs.work_dirs import check_writable
from mmcnn.weights.checkpoint import Checkpoint
from mmcnn.weights.loading import load_state, load_weights
from mmcnn.weights.schemes import register_schemes

#: Number of validation images in the image grid, and the score threshold if no validation has found a better one.
GRID_IMAGES, GRID_SCORE = 8, 0.25
#: Variables from which our config files and MMDetection's are built. Once a file is read they have no effect. A
#: config's own variables with these names, such as a user's ``resize``, are also dropped from the dumped config.
HELPERS = (
    *('max_epochs', 'img_scale', 'data_root', 'train_pipeline', 'test_pipeline'),
    *('mosaic_affine', 'random_hsv', 'resize', 'train_resize', 'test_resize', 'schedule_hook', 'ema_hook'),
    *('before_train_resize', 'after_train_resize', 'before_test_resize', 'after_test_resize'),
)


def train(
    cfg: Config,
    summary: str = '',
    allow_head_mismatch: bool = False,
    *,
    checkpoint: Checkpoint | None = None,
    weights: str | Path | None = None,
    console: Console | None = None,
    notes: Sequence[str] = (),
    hooks: Sequence[Hook] = (),
) -> TrainResult:
    """Train, and write ``curves.png`` and, for a detector, ``predictions.png`` beside the checkpoints in the work dir.

    Args:
        cfg: a complete, wired config. Its variables without effect (:data:`HELPERS`) are removed.
        summary: a phrase about the number of images per iteration and step.
        allow_head_mismatch: whether the layers of ``load_from`` whose shape depends on the number of classes may have
            other shapes in a run that is not resumed; the model's layers keep their initial values.
        checkpoint: the opened file of ``load_from`` or ``weights``; None: it is opened here.
        weights: a path or an address to fine-tune from, see :class:`~mmcnn.runs.fine_tuning.FineTuningHook`.
        console: the console of the run; None: a verbose one.
        notes: lines about config and data, which are printed right before the first step.
        hooks: additional hooks of the runner.

    Raises:
        CheckpointError: ``load_from`` or ``weights`` do not fit the model, or the work dir cannot be written to.
        DataError, TrainingError, SystemExit: See :class:`~mmcnn.engine.ResumableTrainLoop`.
    """
    console = console or Console(verbose=True, launcher=cfg.get('launcher', 'none'))
    check_writable(cfg.work_dir)
    join_ranks(cfg)
    check_alike(cfg)
    register_schemes()
    _drop_helpers(cfg)
    use_tf32(cfg)
    resumes = cfg.get('resume')
    if cfg.get('load_from') and checkpoint is None:
        checkpoint = Checkpoint.open(cfg.load_from)
    if not resumes:
        cfg.load_from = None  # a hook loads it
    with console.run():
        runner = runner_for(console).from_cfg(cfg)
        initial = None
        if weights is not None:
            initial = FineTuningHook(checkpoint or str(weights))
        elif checkpoint is not None and resumes:
            # Only a check: the Runner loads it again with its state, but does not report entries that do not fit.
            load_state(unwrapped(runner.model), checkpoint.state_dict, checkpoint.path)
            checkpoint.release()
        elif checkpoint is not None:
            initial = _InitialWeights(checkpoint, allow_head_mismatch)
        if initial is not None:
            runner.register_hook(initial)
        for hook in (PerformanceHook(), PrecisionHook(), FoldingHook(), FirstUseHook(), HistoryHook(), *hooks):
            runner.register_hook(hook)
        runner.register_hook(
            ConsoleHook(
                console,
                lambda runner: training_rows(runner, initial.story if initial else '', summary),
                notes,
                from_scratch=checkpoint is None and weights is None,
            )
        )
        runner.train()
        result = _result(runner)
        if is_main_process():
            _leave_files(runner, result.last)
            console.summary(_closing_rows(runner, result) + nothing_rows(result.metrics), main_numbers(result.metrics))
    barrier()
    return result


@renamed_arguments(source='checkpoint')
def test(
    cfg: Config,
    checkpoint: str | Path | Checkpoint,
    *,
    amp: bool | str | None = None,
    console: Console | None = None,
    notes: Sequence[str] = (),
    names_file: bool = True,
) -> EvaluateResult:
    """Evaluate weights, which must fit exactly, and store the metrics in ``metrics.json`` in the work dir.

    The network runs with BatchNorm folded into its convolutions.

    Args:
        cfg: a complete, wired config. Its variables without effect (:data:`HELPERS`) are removed.
        checkpoint: a checkpoint, or weights in any other format that fit: the path, or the opened file.
        amp: mixed precision, see :func:`~mmcnn.inference.precision.dtype_called`.
        console: the console of the run; None: a verbose one.
        notes: lines about config and data, which are printed right before the first image.
        names_file: whether the console says where ``metrics.json`` is.

    Raises:
        CheckpointError: the weights do not fit the config's model.
        UsageError: the device does not support the precision.
    """
    console = console or Console(verbose=True, launcher=cfg.get('launcher', 'none'))
    notes = [*notes]
    cfg.load_from, cfg.resume = None, False
    join_ranks(cfg)
    dtype = dtype_called(amp, torch.device(get_device()), notes.append)
    _drop_helpers(cfg)
    use_tf32(cfg)
    with console.run():
        runner = runner_for(console).from_cfg(cfg)
        path = str(checkpoint.path if isinstance(checkpoint, Checkpoint) else checkpoint)
        rows = evaluation_rows(runner, shown_path(path), dtype)
        runner.register_hook(ConsoleHook(console, lambda runner: rows, notes))
        report = load_weights(unwrapped(runner.model), checkpoint)
        if isinstance(checkpoint, Checkpoint):
            checkpoint.release()
        print_log(str(report), logger='current')
        _fuse(runner)
        if dtype is not None:
            use_mixed_precision(unwrapped(runner.model), dtype)
        logged = runner.test()
        if is_main_process():
            metrics = write_metrics(Path(cfg.work_dir), path, logged, dtype and name_of(dtype))
            found = by_name(logged)[0]
            where = [('numbers', shown_path(metrics))] if names_file else []
            console.summary([*where, *nothing_rows(found)], main_numbers(found))
    barrier()
    return EvaluateResult(Path(cfg.work_dir), Path(path), *by_name(logged))


def _drop_helpers(cfg: Config) -> None:
    """Reduce the dumped and logged config to the settings that are in effect."""
    for name in HELPERS:
        cfg.pop(name, None)


class _InitialWeights(Hook):
    """Loads weights just before the first step, because the Runner initialises the whole model when it starts."""

    def __init__(self, checkpoint: Checkpoint, allow_head_mismatch: bool) -> None:
        self.checkpoint = checkpoint
        self.allow_head_mismatch = allow_head_mismatch
        self.story = ''

    def before_train(self, runner: Runner) -> None:
        report = load_weights(unwrapped(runner.model), self.checkpoint, allow_head_mismatch=self.allow_head_mismatch)
        self.checkpoint.release()
        print_log(f'{self.checkpoint.path}: {report}', logger='current')
        self.story = f'{shown_path(self.checkpoint.path)}: {report}'


def _fuse(runner: Runner) -> None:
    """Fold BatchNorm into the convolutions of a Runner's model, inside its wrapper if there is one."""
    if is_model_wrapper(runner.model):
        runner.model.module = fuse(runner.model.module)
    else:
        runner.model = fuse(runner.model)


def _result(runner: Runner) -> TrainResult:
    hub = runner.message_hub
    hook = next((hook for hook in runner.hooks if isinstance(hook, AtomicCheckpointHook)), None)
    if hook is None:
        best, last = hub.get_info('best_ckpt', None), find_latest_checkpoint(runner.work_dir)
        best, last = best and Path(best), last and Path(last)
    else:
        files = list(hook.best_and_last())
        broadcast_object_list(files)  # only the first rank knows which files it has written
        best, last = files
    times = ('val/time', 'val/data_time')
    names = [name for name in hub.log_scalars if name.startswith('val/') and name not in times]
    logged = {name.removeprefix('val/'): hub.log_scalars[name].current() for name in names}
    return TrainResult(
        Path(runner.work_dir), best, last, *by_name(logged), history=[dict(entry) for entry in hub.get_info('history')]
    )


def _leave_files(runner: Runner, checkpoint: Path | None) -> None:
    plot_curves(runner.work_dir, Path(runner.work_dir) / 'curves.png')
    is_detector = not isinstance(unwrapped(runner.model), Classifier)
    if is_detector and runner.val_loop is not None and checkpoint is not None:
        _leave_pictures(runner, checkpoint)


def _leave_pictures(runner: Runner, checkpoint: Path) -> None:
    work_dir = Path(runner.work_dir)
    score, caption = _shown_score(runner)
    detector = Detector(checkpoint, runner.cfg, score_thr=score)
    dataset = runner.val_dataloader.dataset
    pairs = []
    for i in range(min(GRID_IMAGES, len(dataset))):
        sample = dataset.get_data_info(i)
        image = read_image(sample['img_path'])
        objects = [instance for instance in sample['instances'] if not instance['ignore_flag']]
        truth = [instance['bbox'] for instance in objects], [instance['bbox_label'] for instance in objects]
        found = detector(image)
        pairs.append((
            draw_boxes(image, *truth, names=detector.classes),
            draw_boxes(image, found.boxes, found.labels, found.scores, detector.classes),
        ))  # fmt: skip
    prediction_grid(pairs, work_dir / 'predictions.png', caption=caption)


def _shown_score(runner: Runner) -> tuple[float, str]:
    """Return the score threshold for drawn predictions, and a sentence about it."""
    metrics = [metric for metric in runner.val_evaluator.metrics if isinstance(metric, CocoMetric)]
    score = metrics[0].best_f1_score if metrics else None
    if score is not None:
        return score, f'Predictions with a score of at least {score:.2f}, where F1 is best on the validation images.'
    reason = 'no validation of this session has found a better one'
    return GRID_SCORE, f'Predictions with a score of at least {GRID_SCORE}: {reason}.'


def _early_end(runner: Runner) -> str:
    done = (runner.epoch, runner.max_epochs, 'epochs')
    done, total, unit = done if counts_epochs(runner) else (runner.iter, runner.max_iters, 'iterations')
    stories = [hook.story for hook in runner.hooks if isinstance(hook, ResumableEarlyStoppingHook) and hook.story]
    if pause := getattr(runner.train_loop, 'pause', None):
        stories.insert(0, pause)
    return f'early, after {done} of {total} {unit}: {stories[0] if stories else "requested by a hook"}'


def _closing_rows(runner: Runner, result: TrainResult) -> list[tuple[str, str]]:
    """Return the output files of a run, and suggestions for the next command."""
    work_dir = Path(runner.work_dir)
    checkpoints = [path for path in (result.best, result.last) if path is not None]
    files = [*checkpoints, *(work_dir / name for name in ('curves.png', 'predictions.png'))]
    names = [path.name if path.parent == work_dir else shown_path(path) for path in files if path.is_file()]
    rows = [('files', f'{shown_path(work_dir)}: {", ".join(names)}')]
    if runner.val_loop is None:
        rows.append(('note', 'without validation there are no metrics, best.pth or predictions.png'))
    if getattr(runner.train_loop, 'stop_training', False):
        rows.insert(0, ('ended', _early_end(runner)))
    if checkpoints:
        checkpoint = shlex.quote(shown_path(checkpoints[0]))
        commands = [f'mmcnn test {checkpoint}'] if runner.val_loop is not None else []
        if not isinstance(unwrapped(runner.model), Classifier):
            loader = runner.train_dataloader if runner.val_loop is None else runner.val_dataloader
            image = shown_path(file_datasets(loader.dataset)[0].get_data_info(0)['img_path'])
            commands.append(f'mmcnn infer {checkpoint} {shlex.quote(image)}')
        rows += zip(['next', *[''] * len(commands)], commands, strict=False)
    return rows
