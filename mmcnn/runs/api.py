"""``mmcnn.train``, ``mmcnn.evaluate`` and ``mmcnn.check_data``: the commands as functions."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmcnn import compat
from mmcnn.errors import UsageError
from mmcnn.exported_file import is_exported
from mmcnn.nearest import nearest
from mmcnn.runs.options import Options, RunOptions, SplitOptions, TestOptions, TrainOptions, described
from mmcnn.runs.results import EvaluateResult, TrainResult

if TYPE_CHECKING:
    from mmcnn.console import Console
    from mmcnn.runs.begin_hook import BeginHook
    from mmcnn.runs.prepare import Run


def takes(options: type[Options], first: str) -> Callable[[Callable], Callable]:
    """Give a function the signature and the argument list of an options class, and make it reject other names.

    Args:
        options: the class.
        first: the field that is a positional argument of the function.
    """

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            known = {field.name for field in dataclasses.fields(options)}
            for name in kwargs:
                if name not in known:
                    raise UsageError(f"{function.__name__}() has no option '{name}'; {nearest(name, known)}")
            signature.bind(*args, **kwargs)
            return function(options(**dict(zip([first], args, strict=False)), **kwargs))

        parameters = inspect.signature(options).parameters
        signature = inspect.Signature(
            [
                parameters[first].replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD),
                *(each for name, each in parameters.items() if name != first),
            ],
            return_annotation=inspect.signature(function).return_annotation,
        )
        call.__signature__ = signature
        lines = [f'    {name}: {option.help}.' for name, (_, option) in described(options).items()]
        call.__doc__ = f'{inspect.cleandoc(function.__doc__)}\n\nOptions:\n' + '\n'.join(lines)
        return call

    return decorate


@takes(TrainOptions, 'config')
def train(options: TrainOptions) -> TrainResult:
    """Train a detector or a classifier, as ``mmcnn train`` does, and return the result.

    Example: ``mmcnn.train('yolov4_cspdarknet53_narrow', data='demo', epochs=2).metrics``. The first argument is the
    path of a config file, the name of a config that is shipped with mmcnn, or a loaded config. The state of the process
    is restored afterwards, so that several trainings can run one after the other, even after one that failed.

    Raises:
        MmcnnError: an option, the data or a file is invalid, or the training cannot continue; see :mod:`mmcnn.errors`.
    """
    return run_training(options)


@takes(TestOptions, 'checkpoint')
def evaluate(options: TestOptions) -> EvaluateResult:
    """Evaluate a checkpoint on the validation images, as ``mmcnn test`` does.

    Example: ``mmcnn.evaluate('best.pth', data='bccd').metrics['AP50']``. Config, backbone and classes come from the
    checkpoint unless ``config`` names another config; with ``config``, weights of any kind that fit are accepted. An
    exported network, .onnx or .xml, is evaluated on ``data`` by ONNX Runtime or OpenVINO.

    Raises:
        MmcnnError: an option, the data or the checkpoint is invalid; see :mod:`mmcnn.errors`.
    """
    return run_test(options)


def run_training(options: TrainOptions) -> TrainResult:
    """Run a training from an options object; :func:`train` builds one from keyword arguments."""
    with _prepared(options) as (run, console):
        from mmcnn.runs import execution
        from mmcnn.runs.finished import note_finished, nothing_left

        if end := nothing_left(run.cfg, run.checkpoint):
            story, result = end
            console.line(story)
            return result
        with _taken(run) as begin:
            result = execution.train(
                run.cfg,
                run.batches(),
                options.allow_head_mismatch,
                checkpoint=run.checkpoint,
                weights=run.options.weights,
                console=console,
                notes=[*run.notes, *run.warnings],
                hooks=[begin],
            )
            note_finished(run.work_dir, run.cfg, result, begin.early_end)
            return result


def run_test(options: TestOptions, names_file: bool = True) -> EvaluateResult:
    """Run an evaluation from an options object; :func:`evaluate` builds one from keyword arguments.

    Args:
        options: its options.
        names_file: whether the console says where ``metrics.json`` is; False for a folder that the caller deletes.
    """
    if is_exported(options.checkpoint):
        compat.check()
        from mmcnn.runs.exported_evaluation import evaluate_exported

        return evaluate_exported(options)
    with _prepared(options) as (run, console), _taken(run):
        from mmcnn.runs import execution

        return execution.test(
            run.cfg,
            run.checkpoint,
            amp=options.amp,
            console=console,
            notes=[*run.notes, *run.warnings],
            names_file=names_file,
        )


@contextlib.contextmanager
def _prepared(options: RunOptions) -> Iterator[tuple[Run, Console]]:
    """Provide a prepared run, of which nothing is written yet, and the console, with the setup that every run has."""
    compat.check()

    from mmcnn.console import Console
    from mmcnn.runs.causes import known_causes, terminated
    from mmcnn.runs.launcher import check_launcher
    from mmcnn.runs.prepare import prepare
    from mmcnn.runs.process_state import kept_process_state

    check_launcher(options.launcher)  # the console prints only on the first rank
    console = Console(options.verbose, options.launcher)
    with kept_process_state(), known_causes(), terminated():
        yield prepare(options, console.line), console


@contextlib.contextmanager
def _taken(run: Run) -> Iterator[BeginHook]:
    """Hold a run's folder on all its ranks; yield the hook that knows whether the training has begun."""
    from mmcnn.engine.ranks import join_ranks
    from mmcnn.runs.begin_hook import BeginHook
    from mmcnn.runs.taken import taken

    begin = BeginHook(run)
    join_ranks(run.cfg)
    with taken(run.cfg, run.new_work_dir, lambda: begin.has_begun, run.notes.append):
        yield begin


def check_data(
    path: str | Path, skip_images: bool = False, val_fraction: float | None = None, split_seed: int | None = None
) -> Any:
    """Check a data folder, as ``mmcnn check-data`` does, and return the report; nothing is written to the folder.

    Args:
        path: folder of a detector's data (COCO, COCO 2017, YOLO or VOC layout) or of a classifier's (train/CLASS/,
            val/CLASS/); 'demo' is the synthetic set.
        skip_images: check the annotations only and open no image.
        val_fraction: fraction of the images that is drawn for validation, if the folder has no validation split.
        split_seed: seed of the draw; None: 0.

    Returns:
        A :class:`~mmcnn.datasets.check.report.DataReport`, or for a classifier's folder a
        :class:`~mmcnn.datasets.check.classifier.ClassReport`, with ``report.ok`` and ``report.findings``;
        ``print(report)`` shows it.

    Raises:
        DataError: there is no such folder, or its layout is unknown.
        UsageError: ``val_fraction`` is not between 0 and 1, or a seed is given without it.
    """
    from mmcnn.datasets.check.detector import check_folder
    from mmcnn.runs.data import demo_data
    from mmcnn.runs.drawn_split import draw_of

    draw = draw_of(SplitOptions(val_fraction=val_fraction, split_seed=split_seed))
    return check_folder(Path(demo_data() if path == 'demo' else path), not skip_images, draw)
