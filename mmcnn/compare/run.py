"""One training of a comparison: a run that can be resumed."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcnn.compare.candidates import Candidate
from mmcnn.console.layout import nothing_measured
from mmcnn.engine.atomic_file import write_whole
from mmcnn.errors import UsageError
from mmcnn.plots.curves import read_scalars
from mmcnn.runs.options import TrainOptions, described
from mmcnn.runs.run_lock import refuse_live
from mmcnn.weights.checkpoint import Checkpoint

#: Files in a run's folder in addition to those of every training.
RECORD, OUTPUT = 'run.json', 'output.txt'
#: Entry in the record of a run whose checkpoints were dropped: the SHA-256 of the last one.
DROPPED = 'dropped_checkpoint'
AP, AP50 = 'coco/bbox_mAP', 'coco/bbox_mAP_50'
#: Exit codes of a training that was ended by SIGINT or SIGTERM, while it handles them or before.
_TOLD_TO_END = (130, 143, -signal.SIGINT, -signal.SIGTERM)
#: Values of options that were not given; records of earlier releases lack some of these options.
_NOT_GIVEN = (None, False, {}, [])


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

    def iterations(self) -> int:
        """Return the number of iterations up to the last checkpoint; 0: there is none."""
        path = self.checkpoint()
        return Checkpoint.open(path).meta.get('iter', 0) if path.is_file() else 0

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


def _changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return the changes in the settings of a run. An option that was not given may be missing, None or False."""
    pairs = {key: (old.get(key), new.get(key)) for key in {**new, **old}}
    return [
        f'{key} {before}, now {now}'
        for key, (before, now) in pairs.items()
        if before != now and not (before in _NOT_GIVEN and now in _NOT_GIVEN)
    ]
