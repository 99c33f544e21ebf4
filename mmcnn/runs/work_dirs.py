"""The folder of a run: named after what is run, and never shared with another run."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process

from mmcnn.errors import UsageError
from mmcnn.weights.whole_file import checkpoints_in, is_trial, write_whole

#: Where a run writes down what it is.
RECORD = 'run_options.json'
#: Below the current folder.
WORK_DIRS = Path('work_dirs')
_EPOCH = re.compile(r'epoch_(\d+)\.pth')
_ITERATION = re.compile(r'(?:stopped_at_)?iter_(\d+)\.pth')
#: What MMEngine's Runner makes before a run has begun: a folder named by the second of the start.
_STARTED_AT = re.compile(r'\d{8}_\d{6}')


@dataclass(frozen=True)
class RunKind:
    """What makes two runs like each other, so that one can continue the other.

    Attributes:
        config: name of the config.
        backbone: the backbone that stands in place of the config's own, if one does.
        data: 'demo', or the absolute path of the data folder.
    """

    config: str
    backbone: str | None
    data: str

    def name(self) -> str:
        """For a folder: ``yolov4_cspdarknet53-vovnet39-bccd``."""
        parts = [self.config, self.backbone, Path(self.data).name]
        return '-'.join(re.sub(r'[^\w.-]+', '_', part) for part in parts if part)

    def __str__(self) -> str:
        return f'{self.config}{f" on {self.backbone}" if self.backbone else ""} with the data {self.data}'


def for_training(kind: RunKind, chosen: str | Path | None, resume: bool | str | Path) -> Path:
    """The folder of a training; nothing is written.

    Args:
        kind: what is trained.
        chosen: the folder that the user or the config names; None: a new one below ``work_dirs/``, or with ``resume``
            the latest one there with a run of this kind.
        resume: as in :class:`~mmcnn.runs.options.TrainOptions`.

    Raises:
        UsageError: the chosen folder holds another run.
    """
    if chosen is None and resume is True:
        return _latest_like(kind) or _unused(WORK_DIRS / kind.name())
    if chosen is None and resume:
        parent = Path(resume).parent
        return parent if _record(parent) in (kind, None) and contents(parent) else _unused(WORK_DIRS / kind.name())
    if chosen is None:
        return _unused(WORK_DIRS / kind.name())
    folder = Path(chosen)
    held = contents(folder)
    if held is None:
        return folder
    if resume is not True and (not resume or Path(resume).resolve().parent != folder.resolve()):
        raise UsageError(
            f'{folder} holds {held}, which this run would overwrite; choose another --work-dir, or continue that run '
            'with --resume'
        )
    if _record(folder) not in (kind, None):
        raise UsageError(
            f'{folder} holds {held}, and that run cannot be continued as {kind}; choose another --work-dir, or the '
            'same config, backbone and data'
        )
    return folder


def for_test(name: str, chosen: str | Path | None) -> Path:
    """The folder of an evaluation; nothing is written.

    Args:
        name: of what is evaluated.
        chosen: the folder that the user names; None: a new one below ``work_dirs/``.

    Raises:
        UsageError: the chosen folder is that of a training.
    """
    if chosen is None:
        return _unused(WORK_DIRS / f'{name}-test')
    if held := contents(Path(chosen)):
        raise UsageError(f'{chosen} holds {held}: choose another --work-dir for the results of the evaluation')
    return Path(chosen)


def contents(folder: Path) -> str | None:
    """What a folder holds of a training, for a sentence; None: nothing."""
    record, kind = _read(folder), _record(folder)
    if record is None and not checkpoints_in(folder):
        return None
    dumped = next((path.stem for path in sorted(folder.glob('*.py'))), None)
    what = f'a run of {kind}' if kind else f'a run of {dumped}' if dumped else 'a run'
    return f'{what} ({_progress(folder, (record or {}).get("epochs"))})'


def write_record(folder: Path, kind: RunKind, **facts: Any) -> None:
    """Writes down what a run is, so that no other one takes its folder."""
    content = json.dumps(asdict(kind) | facts, indent=1, ensure_ascii=False) + '\n'
    write_whole(folder / RECORD, lambda file: file.write(content.encode()))


@contextlib.contextmanager
def kept_unless(folder: Path, begun: Callable[[], bool]) -> Iterator[None]:
    """Takes what a run that fails before it has begun left in its folder away again, and the folder if it was new.

    Args:
        folder: of the run.
        begun: whether what is there is worth keeping.
    """
    before = set(folder.iterdir()) if folder.is_dir() else None
    parent_was_there = folder.parent.is_dir()
    try:
        yield
    except BaseException:
        if is_main_process() and not begun():
            _clear(folder, before, parent_was_there)
        raise


def _clear(folder: Path, before: set[Path] | None, parent_was_there: bool) -> None:
    for path in set(folder.iterdir()) - (before or set()) if folder.is_dir() else ():
        if path.is_dir() and _STARTED_AT.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
        elif path.suffix == '.py' and path.is_file():  # the config, as MMEngine dumps it
            path.unlink()
    # Not empty: somebody else's files.
    with contextlib.suppress(OSError):
        if before is None:
            folder.rmdir()
            if not parent_was_there:
                folder.parent.rmdir()


def _latest_like(kind: RunKind) -> Path | None:
    """The newest folder below ``work_dirs/`` with a checkpoint of a run of this kind."""
    folders = [folder for folder in WORK_DIRS.glob('*') if (folder / 'last_checkpoint').is_file()]
    like = [folder for folder in folders if _record(folder) == kind]
    # Releases up to 0.1 named the folder after the config alone and wrote no record.
    earlier = [folder for folder in folders if folder.name == kind.config and _read(folder) is None]
    return max(like or earlier, key=lambda folder: (folder / 'last_checkpoint').stat().st_mtime, default=None)


def _unused(folder: Path) -> Path:
    """The folder, or one with a number behind its name, that holds nothing but empty folders."""
    number, path = 1, folder
    while path.exists() and (not path.is_dir() or any(not is_trial(each) for each in path.iterdir())):
        number += 1
        path = folder.with_name(f'{folder.name}-{number}')
    return path


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        record = json.loads((folder / RECORD).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _record(folder: Path) -> RunKind | None:
    """The kind of the run in a folder; None: it was not written down."""
    record = _read(folder) or {}
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
