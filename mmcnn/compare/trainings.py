"""Several backbones in one detector, trained with one budget."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from mmcnn.compare.candidates import SCRATCH, Candidate, on_backbone
from mmcnn.compare.options import INIT, ORDER, CompareOptions
from mmcnn.compare.run import OUTPUT, Run, typed
from mmcnn.config.model import build, class_layers
from mmcnn.config.parts import metrics_of
from mmcnn.console.layout import NOTHING
from mmcnn.errors import CheckpointError, UsageError
from mmcnn.models.wiring.classes import num_classes
from mmcnn.runs.fine_tuning import load_for_classes
from mmcnn.runs.img_size import image_size
from mmcnn.runs.options import TrainOptions
from mmcnn.runs.prepare import prepare
from mmcnn.runs.process_state import kept_process_state
from mmcnn.runs.run_lock import RunLock
from mmcnn.weights.addresses import is_address
from mmcnn.weights.checkpoint import Checkpoint


class Checked(NamedTuple):
    """Facts about the trainings of a comparison, from their check."""

    classes: tuple[str, ...]  # names of the classes of the data; empty: those of the config's own data
    num_classes: set[int]  # possible numbers of classes of the heads, which depend on the data
    size: tuple[int, int]  # width and height of the test images, pixels


def check(options: TrainOptions, candidates: Sequence[Candidate]) -> Checked:
    """Prepare the training of each candidate on the meta device, and report other changes that it needs.

    Args:
        options: options of the trainings, with a loaded config and without a backbone.
        candidates: what is compared.

    Raises:
        MmcnnError: a training could not start; the message gives the backbone if that is the cause. Or the config's
            test pipeline has no image size.
    """
    data, said = {}, False
    for candidate in candidates:
        cfg = candidate.config(options.config)
        cfg.pop('work_dir', None)  # each run has its own folder, and nothing is written to the config's
        own = {name: value for name, value in candidate.options().items() if value is not None}
        with kept_process_state():
            try:
                run = prepare(
                    dataclasses.replace(options, config=cfg, **own), data=data.get(candidate.fraction, data.get(1.0))
                )
            except UsageError as error:
                raise UsageError(f'backbone={candidate.backbone}: {error}') from error
        for line in run.warnings if not said else []:
            print(line, flush=True)
        for note in on_backbone(options.config, candidate.backbone)[1]:
            print(f'{candidate.name}: {note}', flush=True)
        data[candidate.fraction], said = run.data, True
    size = image_size(run.cfg)
    if size is None:
        raise UsageError(f'the test pipeline of {run.cfg.filename} has no transform with an img_scale or a scale')
    return Checked(run.data.classes if run.data else (), num_classes(run.cfg.model), size)


def refuse_unfit_weights(
    candidates: Sequence[Candidate], as_trained: Callable[[Candidate], Config], classes: tuple[str, ...]
) -> None:
    """Refuse weights that do not fit their detector, which a training would only do before its first step.

    Args:
        candidates: what is compared, at its final width.
        as_trained: returns the config of a candidate as it is trained.
        classes: names of the classes of the data.

    Raises:
        CheckpointError: weights do not fit or cannot be downloaded; the message gives the backbone.
    """
    for candidate in candidates:
        if candidate.weights == SCRATCH:
            continue
        cfg = as_trained(candidate)
        address = is_address(candidate.weights)  # it is downloaded into the cache, where the trainings find it
        weights = candidate.weights if address else Checkpoint.open(candidate.weights)
        theirs = () if address else weights.classes
        with kept_process_state():  # building a model draws random numbers
            try:
                load_for_classes(build(cfg), weights, theirs, classes, class_layers(cfg))
            except CheckpointError as error:
                raise CheckpointError(f'backbone={candidate.backbone}: {error}') from error


@contextlib.contextmanager
def locked(work_dir: Path) -> Iterator[None]:
    """Lock the folder of a comparison against other comparisons and runs.

    Raises:
        UsageError: a comparison or a run is in progress there; the message gives its host, process and start.
        CheckpointError: the folder is not writable.
    """
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f'nothing can be written to {work_dir}: {error.strerror}') from error
    lock = RunLock(work_dir)
    if note := lock.acquire():
        print(note, flush=True)
    try:
        yield
    finally:
        lock.release()


def seeds_of(options: CompareOptions) -> list[tuple[int, int | None]]:
    """Return the seed of each training of a candidate, and its init seed; None: it follows from the seed."""
    init = options.seed if options.init_seed is None else options.init_seed
    if options.vary == INIT:
        return [(options.seed, init + i) for i in range(options.seeds)]
    seeds = range(options.seed, options.seed + options.seeds)
    if options.vary == ORDER:
        return [(seed, init) for seed in seeds]
    return [(seed, None if options.init_seed is None else init + i) for i, seed in enumerate(seeds)]


def plan(
    cfg: Config,
    candidates: Sequence[Candidate],
    seeds: Sequence[tuple[int, int | None]],
    work_dir: Path,
    budget: dict[str, Any],
    **other: Any,
) -> list[Run]:
    """Return the runs: those of all candidates with the first seed, then with the next, and so on.

    Args:
        cfg: config as it was loaded, without ``cfg_options``.
        candidates: the candidates.
        seeds: returned by :func:`seeds_of`.
        work_dir: folder of the comparison; each run is in ``BACKBONE/seed_S/`` below it.
        budget: options of mmcnn train that affect results, with their values or None: runs with other values are not
            mixed with these.
        **other: options of mmcnn train that do not affect results.

    Raises:
        UsageError: see :meth:`~mmcnn.compare.candidates.Candidate.config`.
    """
    texts = {each: each.config(cfg).pretty_text for each in candidates}
    keeps = any(metric.get('type') == 'mmcnn.CocoMetric' for _, metric in metrics_of(cfg, 'val_evaluator'))
    runs = []
    for seed, init_seed in seeds:
        for each in candidates:
            own = budget | each.options() | ({} if each.epochs is None else dict(epochs=each.epochs))
            name = f'seed_{seed}' if init_seed is None else f'seed_{seed}_init_{init_seed}'
            recipe = dict(recipe=hashlib.sha256(texts[each].encode()).hexdigest()[:12], init_seed=init_seed)
            # In the form in which it is read again: JSON has no tuples.
            settings = json.loads(json.dumps(recipe | own))
            arguments = (*typed(other | dict(keep_detections=keeps)), *typed(own))
            file = Path(cfg.filename).name
            runs.append(
                Run(each, seed, init_seed, work_dir / each.folder / name, texts[each], file, settings, arguments)
            )
    return runs


def train_all(runs: Sequence[Run], jobs: int = 1, until_epoch: int | None = None) -> None:
    """Train what is not finished on this machine, with a line for each.

    Args:
        runs: runs in the order of their start.
        jobs: number of simultaneous trainings.
        until_epoch: pause each after this epoch; None: train to the end.
    """
    numbered = [(f'[{i}/{len(runs)}] {run.title}:', run) for i, run in enumerate(runs, start=1)]

    def train(at: str, run: Run) -> None:
        if run.has_reached(until_epoch):
            print(f'{at} already trained', flush=True)
            return
        print(f'{at} training, see {run.folder / OUTPUT}', flush=True)
        print(f'{at} {outcome(run, run.train(until_epoch))}', flush=True)

    if jobs == 1:
        for at, run in numbered:
            train(at, run)
        return
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for each in [pool.submit(train, *each) for each in numbered]:
                each.result()
        except BaseException:
            # Ctrl-C also reaches the running ones; waiting ones must not start after them.
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def outcome(run: Run, failure: str | None) -> str:
    """Return how a training ended, in a few words."""
    if failure:
        return f'failed: {failure}'
    if (result := run.result()) is not None:
        return NOTHING if result['AP50'] is None else f'AP50 = {result["AP50"]:.2f}'
    epoch, score = max(run.curve().items())
    return f'paused after epoch {epoch}, AP = {score:.3f}'
