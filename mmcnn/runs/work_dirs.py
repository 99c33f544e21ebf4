"""The folder of a run: named after its config, backbone and data, and never shared with another run."""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmcnn.config.load import Say
from mmcnn.engine.atomic_file import write_whole
from mmcnn.errors import CheckpointError, UsageError
from mmcnn.runs.checkpoints import checkpoints_in, last_checkpoint
from mmcnn.runs.run_lock import refuse_live

#: The file with the record of a run.
RECORD = 'run_options.json'
#: The file with the metrics of an evaluation.
METRICS = 'metrics.json'
#: Folder of new work dirs, in the current folder.
WORK_DIRS = Path('work_dirs')
_EPOCH = re.compile(r'epoch_(\d+)\.pth')
_ITERATION = re.compile(r'(?:stopped_at_)?iter_(\d+)\.pth')


@dataclass(frozen=True)
class RunKind:
    """The properties that two runs must share for one to continue the other.

    Attributes:
        config: name of the config.
        backbone: the backbone that replaces the config's own, if any.
        data: 'demo', or the absolute path of the data folder.
    """

    config: str
    backbone: str | None
    data: str

    def name(self) -> str:
        """Return a name for a folder: ``yolov4_cspdarknet53-vovnet39-bccd``."""
        parts = [self.config, self.backbone, Path(self.data).name]
        return '-'.join(re.sub(r'[^\w.-]+', '_', part) for part in parts if part)

    def __str__(self) -> str:
        return f'{self.config}{f" on {self.backbone}" if self.backbone else ""} with the data {self.data}'


def for_training(
    kind: RunKind,
    chosen: str | Path | None,
    resume: bool | str | Path,
    config: str | Path | None = None,
    backbone: str = '',
    say: Say = print,
) -> Path:
    """Return the folder of a training; nothing is written.

    Args:
        kind: what is trained.
        chosen: the folder that the user or the config names; None: a new one in ``work_dirs/``, or with ``resume`` the
            latest one there with a run of this kind.
        resume: as in :class:`~mmcnn.runs.options.TrainOptions`.
        config: file of the config, if there is one.
        backbone: type of the backbone, which identifies runs of a release without records.
        say: called with a sentence if a checkpoint is continued in another folder.

    Raises:
        UsageError: the chosen folder is a file, has an active run, or contains another run or the config itself; or the
            run to continue is active.
        CheckpointError: the checkpoint of a run without a record cannot be read.
    """
    if chosen is None:
        if resume is True:
            latest = _latest_like(kind, backbone)
            if latest is not None:
                refuse_live(latest)
            return latest or unused(WORK_DIRS / kind.name())
        if resume and contents(parent := Path(resume).parent):
            if _is_like(parent, kind, backbone):
                refuse_live(parent)
                return parent
            say(f'{parent} contains {contents(parent)}; as {kind}, the run continues in a separate folder')
        return unused(WORK_DIRS / kind.name())
    folder = _as_folder(chosen)
    refuse_live(folder)
    held = contents(folder)
    if held is None:
        if config is not None and Path(config).resolve().parent == folder.resolve():
            raise UsageError(
                f'{config} is in the work dir {folder}, where the complete config would overwrite it; '
                'choose another --work-dir'
            )
        return folder
    if resume is not True and (not resume or Path(resume).resolve().parent != folder.resolve()):
        raise UsageError(
            f'{folder} contains {held}, which this run would overwrite; choose another --work-dir, or continue that '
            'run with --resume'
        )
    if not _is_like(folder, kind, backbone):
        raise UsageError(
            f'{folder} contains {held}, and that run cannot be continued as {kind}; choose another --work-dir, or the '
            'same config, backbone and data'
        )
    return folder


def for_test(name: str, chosen: str | Path | None) -> Path:
    """Return the folder of an evaluation; nothing is written.

    Args:
        name: name of the evaluated weights.
        chosen: the folder that the user names; None: a new one in ``work_dirs/``.

    Raises:
        UsageError: the chosen folder is a file, has an active run, belongs to a training, or has the metrics of another
            evaluation.
    """
    if chosen is None:
        return unused(WORK_DIRS / f'{name}-test')
    folder = _as_folder(chosen)
    refuse_live(folder)
    held = contents(folder) or (f'{METRICS} of another evaluation' if (folder / METRICS).exists() else None)
    if held:
        raise UsageError(f'{folder} contains {held}: choose another --work-dir for the results of this evaluation')
    return folder


def _as_folder(chosen: str | Path) -> Path:
    folder = Path(chosen)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f'{folder} is a file, but the work dir must be a folder; choose another --work-dir')
    return folder


def contents(folder: Path) -> str | None:
    """Return a phrase about the training in a folder; None if there is none."""
    record, kind = read_record(folder), _record(folder)
    if record is None and not checkpoints_in(folder):
        return None
    dumped = next((path.stem for path in sorted(folder.glob('*.py'))), None)
    what = f'a run of {kind}' if kind else f'a run of {dumped}' if dumped else 'a run'
    return f'{what} ({_progress(folder, (record or {}).get("epochs"))})'


def write_record(folder: Path, kind: RunKind, **facts: Any) -> None:
    """Write the record of a run, so that no other run takes its folder; the original start time stays.

    Args:
        folder: folder of the run.
        kind: kind of the run.
        **facts: additional entries; ``started`` is that of the first session.
    """
    facts |= {key: value for key, value in (read_record(folder) or {}).items() if key == 'started'}
    content = json.dumps(asdict(kind) | facts, indent=1, ensure_ascii=False) + '\n'
    write_whole(folder / RECORD, lambda file: file.write(content.encode()))


def _latest_like(kind: RunKind, backbone: str) -> Path | None:
    """Return the newest folder in ``work_dirs/`` with a checkpoint of a run of this kind."""
    folders = [folder for folder in WORK_DIRS.glob('*') if (folder / 'last_checkpoint').is_file()]
    like = [folder for folder in folders if _record(folder) == kind]
    if not like:
        # Releases up to 0.1 named the folder after the config alone and wrote no record.
        like = [folder for folder in folders if folder.name == kind.config and _is_like(folder, kind, backbone)]
    return max(like, key=lambda folder: (folder / 'last_checkpoint').stat().st_mtime, default=None)


def _is_like(folder: Path, kind: RunKind, backbone: str) -> bool:
    """Return whether the run in a folder can be continued as one of this kind."""
    if read_record(folder) is not None:
        return _record(folder) in (kind, None)
    found = last_checkpoint(folder)
    if found is None:
        return True
    _, checkpoint, _ = found
    try:
        cfg = checkpoint.config
    except CheckpointError:  # unknown; whether the weights fit is checked later
        return True
    root = cfg.get('test_dataloader', {}).get('dataset', {}).get('data_root')
    old_demo = root is not None and Path(root).name == 'mmcnn_demo'
    same_data = root is None or (old_demo if kind.data == 'demo' else str(Path(root).resolve()) == kind.data)
    return same_data and backbone in ('', cfg.get('model', {}).get('backbone', {}).get('type'))


def unused(folder: Path) -> Path:
    """Return the folder, or the first one with a number appended to its name that does not exist."""
    name, _, number = folder.name.rpartition('-')
    numbered = number.isdecimal() and folder.with_name(name).exists()  # appended by an earlier call
    name, count = (name, int(number)) if numbered else (folder.name, 1)
    while folder.exists():
        count += 1
        folder = folder.with_name(f'{name}-{count}')
    return folder


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record that :func:`write_record` has written; None if there is none that can be read."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _record(folder: Path) -> RunKind | None:
    """Return the kind of the run in a folder; None if it was not recorded."""
    record = read_record(folder) or {}
    fields = {key: record.get(key) for key in RunKind.__dataclass_fields__}
    return RunKind(**fields) if fields['config'] and fields['data'] else None


def _progress(folder: Path, epochs: int | None) -> str:
    last = folder / 'last_checkpoint'
    name = Path(last.read_text(encoding='utf-8', errors='replace').strip()).name if last.is_file() else ''
    if found := _EPOCH.fullmatch(name):
        return f'{found[1]}{f" of {epochs}" if epochs else ""} epochs'
    if found := _ITERATION.fullmatch(name):
        return f'up to iteration {found[1]}'
    return 'no checkpoint yet'


def check_writable(folder: str | Path) -> None:
    """Create a folder, and check that files can be written to it.

    Raises:
        CheckpointError: names the folder and the reason.
    """
    folder = Path(folder)
    trial = folder / f'trial-{os.getpid()}'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.write_bytes(bytes(4096))
        trial.unlink()
    except OSError as error:
        with contextlib.suppress(OSError):
            trial.unlink()
        raise CheckpointError(f'cannot write to {folder}: {error.strerror}') from error
