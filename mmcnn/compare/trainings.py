"""Several backbones in one detector, trained with one budget: runs that can be resumed."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmcnn.compare.candidates import Candidate, on_backbone
from mmcnn.compare.options import INIT, ORDER, CompareOptions
from mmcnn.config.parts import metrics_of
from mmcnn.console.layout import NOTHING, nothing_measured
from mmcnn.engine.atomic_file import write_whole
from mmcnn.errors import CheckpointError, UsageError
from mmcnn.models.wiring.classes import num_classes
from mmcnn.plots.curves import read_scalars
from mmcnn.runs.img_size import image_size
from mmcnn.runs.options import TrainOptions, described
from mmcnn.runs.prepare import prepare
from mmcnn.runs.process_state import kept_process_state
from mmcnn.runs.run_lock import RunLock, refuse_live

#: Files in a run's folder in addition to those of every training.
RECORD, OUTPUT = 'run.json', 'output.txt'
#: Entry in the record of a run whose checkpoints were dropped: the SHA-256 of the last one.
DROPPED = 'dropped_checkpoint'
AP, AP50 = 'coco/bbox_mAP', 'coco/bbox_mAP_50'
#: Exit codes of a training that was ended by SIGINT or SIGTERM, while it handles them or before.
_TOLD_TO_END = (130, 143, -signal.SIGINT, -signal.SIGTERM)
#: Values of options that were not given; records of earlier releases lack some of these options.
_NOT_GIVEN = (None, False, {}, [])


def check(options: TrainOptions, candidates: Sequence[Candidate]) -> tuple[set[int], tuple[int, int]]:
    """Prepare the training of each candidate on the meta device, and report other changes that it needs.

    Args:
        options: options of the trainings, with a loaded config and without a backbone.
        candidates: what is compared.

    Returns:
        The possible numbers of classes of the heads, which depend on the data, and width and height of the test
        images, pixels.

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
    return num_classes(run.cfg.model), size


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


@dataclass(frozen=True)
class Run:
    """One training of one candidate with one seed, in its own folder, by ``mmcnn train`` in its own process.

    Each has its own process, so that one that dies, out of memory for example, does not affect the others.
    """

    candidate: Candidate
    seed: int  # seed of order and augmentation
    init_seed: int | None  # seed of the initial weights; None: they follow from the seed
    folder: Path
    config: str  # text of the detector's config on this backbone
    config_name: str  # name of its file
    settings: dict[str, Any]  # settings that its result depends on: the recipe and the budget
    arguments: tuple[str, ...]  # arguments of mmcnn train in addition to config, folder and seeds

    @property
    def title(self) -> str:
        """Title for the user."""
        return f'{self.candidate.name}, seed {self.seeds_title}'

    @property
    def seeds_title(self) -> str:
        """The seeds, for the user."""
        return f'{self.seed}' if self.init_seed is None else f'{self.seed} (init {self.init_seed})'

    @property
    def num_epochs(self) -> int | None:
        """Length of the training; None: that of its config."""
        return self.settings.get('epochs')

    def record(self) -> dict[str, Any] | None:
        """Return the record of the run: settings, seconds, result, failure. None: it was never started."""
        path = self.folder / RECORD
        if not path.is_file():
            return None
        return json.loads(path.read_text(encoding='utf-8'), parse_constant=lambda name: None)  # NaN of release 0.1

    def result(self) -> dict[str, float | None] | None:
        """Return AP and AP50 of the last weights on the validation set, and seconds; None: it did not finish.

        AP and AP50 are None if there was nothing to measure.
        """
        record = self.record()
        return record['result'] if record and (record.get(DROPPED) or self.checkpoint().is_file()) else None

    def checkpoint(self) -> Path:
        """Return the last checkpoint; a path without a file if there is none."""
        last = self.folder / 'last_checkpoint'
        # Only the name counts: the folder may have been moved.
        return self.folder / (Path(last.read_text()).name if last.is_file() else 'none.pth')

    def checkpoint_sha256(self) -> str:
        """Return the SHA-256 of the last checkpoint, also of one that was dropped; '': there is none."""
        if self.checkpoint().is_file():
            with self.checkpoint().open('rb') as file:
                return hashlib.file_digest(file, 'sha256').hexdigest()
        return (self.record() or {}).get(DROPPED, '')

    def drop_checkpoints(self) -> None:
        """Delete the checkpoints of a finished training; its metrics, curves and detections are kept."""
        if self.result() is None or not (digest := self.checkpoint_sha256()):
            return
        self._write(self.record() | {DROPPED: digest})
        for file in self.folder.glob('*.pth'):
            file.unlink()

    def refuse_others(self) -> None:
        """Raise an error if budgets would be mixed, or if there are files that do not belong to a comparison.

        Raises:
            UsageError: the folder contains a run with other settings, something else, or a run in progress.
        """
        refuse_live(self.folder)
        record = self.record()
        if record is None and self.folder.is_dir() and any(self.folder.iterdir()):
            raise UsageError(
                f'{self.folder} contains files that do not belong to a comparison; choose another work_dir'
            )
        if record is not None and (changes := _changes(record['settings'], self.settings)):
            raise UsageError(
                f'{self.folder} contains a run with other settings ({"; ".join(changes)}); choose another work_dir, or '
                'fresh=True to train everything again'
            )

    def discard(self) -> None:
        """Delete the folder if it contains a run of a comparison.

        Raises:
            UsageError: the run is in progress, for example that of a killed comparison.
        """
        refuse_live(self.folder)
        if self.record() is not None:
            shutil.rmtree(self.folder)

    def command(self, until_epoch: int | None = None) -> list[str]:
        """Return the command of the training, which resumes from the last checkpoint.

        Args:
            until_epoch: pause after this epoch of the schedule; None: train to the end.
        """
        seeds = dict(seed=self.seed, init_seed=self.init_seed, until_epoch=until_epoch)
        return [
            sys.executable, '-m', 'mmcnn', 'train', str(self.folder.parent / self.config_name),
            '--work-dir', str(self.folder), *typed(seeds), '--resume', *self.arguments,
        ]  # fmt: skip

    def train(self, until_epoch: int | None = None) -> str | None:
        """Train, or resume from the last checkpoint; the output goes to ``output.txt``.

        The recorded time is that of the process, including start and validations, over all its sessions.

        Args:
            until_epoch: see :meth:`command`.

        Returns:
            Why it has no result, in one line; None: it has one.
        """
        record = (self.record() or dict(seconds=0.0)) | dict(settings=self.settings, result=None, failure='interrupted')
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write(record)
        config = self.folder.parent / self.config_name
        write_whole(config, lambda file: file.write(self.config.encode()), shared=True)
        start = time.perf_counter()
        try:
            with (self.folder / OUTPUT).open('a', encoding='utf-8') as output:
                code = subprocess.run(self.command(until_epoch), stdout=output, stderr=subprocess.STDOUT).returncode
        finally:  # also when the comparison is interrupted
            record['seconds'] += time.perf_counter() - start
            self._write(record)
        scores = {} if code else next(reversed(read_scalars(self.folder)[1].values()), {})
        if code:
            record['failure'] = 'interrupted' if code in _TOLD_TO_END else self._reason(code)
        elif AP not in scores:
            record['failure'] = 'it ended without a validation'
        elif until_epoch is not None and scores['step'] < (self.num_epochs or math.inf):
            record['failure'] = None  # paused
        else:
            # JSON has no NaN, and a validation without objects gives no number.
            scores = {key: None if nothing_measured({key: scores[key]}) else scores[key] for key in (AP, AP50)}
            result = dict(AP=scores[AP], AP50=scores[AP50], seconds=record['seconds'])
            record.update(result=result, failure=None)
        self._write(record)
        return record['failure']

    def has_reached(self, epoch: int | None) -> bool:
        """Return whether it is finished, or has been validated after this epoch."""
        return self.result() is not None or (epoch is not None and max(self.curve(), default=0) >= epoch)

    def note_failure(self, failure: str) -> None:
        """Record why the training has no result, if that was detected elsewhere."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write((self.record() or dict(seconds=0.0, settings=self.settings, result=None)) | dict(failure=failure))

    def curve(self) -> dict[int, float]:
        """Return AP by epoch of the validations so far; empty: there was none."""
        try:
            entries = read_scalars(self.folder)[1]
        except FileNotFoundError:
            return {}
        return {epoch: entry[AP] for epoch, entry in entries.items() if AP in entry}

    def _reason(self, code: int) -> str:
        lines = (self.folder / OUTPUT).read_text(encoding='utf-8', errors='replace').splitlines()
        # Indented lines belong to the line before them.
        last = next((line.rstrip() for line in reversed(lines) if line[:1].strip()), 'no output')
        return (f'killed by signal {-code}, after: ' if code < 0 else '') + last.removeprefix('error: ')

    def _write(self, record: dict[str, Any]) -> None:
        content = f'{json.dumps(record, indent=1)}\n'.encode()
        write_whole(self.folder / RECORD, lambda file: file.write(content))


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


def _changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return the changes in the settings of a run. An option that was not given may be missing, None or False."""
    pairs = {key: (old.get(key), new.get(key)) for key in {**new, **old}}
    return [
        f'{key} {before}, now {now}'
        for key, (before, now) in pairs.items()
        if before != now and not (before in _NOT_GIVEN and now in _NOT_GIVEN)
    ]


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


def typed(options: dict[str, Any]) -> list[str]:
    """Return options as they are typed: ``dict(img_size=64, amp=True)`` is ``--img-size 64 --amp``; no None, False."""
    words = []
    flags = {name: option.flag for name, (_, option) in described(TrainOptions).items() if option.flag}
    for name, value in options.items():
        if isinstance(value, dict):
            pairs = [f'{key}={entry}' for key, entry in value.items()]
            words += [f'--{name.replace("_", "-")}', *pairs] if pairs else []
        elif isinstance(value, list | tuple):
            once_each = [word for each in value for word in (f'--{flags.get(name)}', each)]
            words += once_each if name in flags else [f'--{name.replace("_", "-")}', *value]
        elif value is not None and value is not False:
            words += [f'--{name.replace("_", "-")}', *([] if value is True else [str(value)])]
    return words
