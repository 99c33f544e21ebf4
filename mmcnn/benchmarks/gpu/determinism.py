"""Stage 3: the same training twice, and killed and resumed, must give bit-identical weights."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from mmcnn.benchmarks.gpu.measurement import Circumstances, Report, Timer
from mmcnn.benchmarks.gpu.recipes import RECIPES
from mmcnn.datasets.folders.shapes import make_shapes
from mmcnn.errors import TrainingError

#: Must be in the environment before CUDA starts: without it cuBLAS is not deterministic.
ENVIRONMENT = {'CUBLAS_WORKSPACE_CONFIG': ':4096:8'}
#: Training images, epochs, side of the images and batch size; in the tiny form.
IMAGES, EPOCHS, SIZE, BATCH = 64, 2, 320, 8
TINY_IMAGES, TINY_SIZE, TINY_BATCH = 8, 64, 4
#: Parts of a checkpoint that must be identical.
PARTS = ('state_dict', 'ema_state_dict', 'optimizer')
#: The package may not be installed.
_ROOT = Path(__file__).resolve().parents[3]


def measure(circumstances: Circumstances, timer: Timer, report: Report, *, recipe: str) -> None:
    """Train three times at once: to the end, to the end, and killed after the first epoch and resumed.

    All use ``randomness.deterministic``; the third is killed by SIGKILL. ``passed``: all three end with the same
    weights, averages and optimizer state.

    Args:
        circumstances: device.
        timer: time limit in seconds; what still runs then is ended.
        report: takes the SHA-256 of each.
        recipe: a key of :data:`~.recipes.RECIPES`.

    Raises:
        TrainingError: a training failed (with its last line), or ended before it could be killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        images, size = (TINY_IMAGES, TINY_SIZE) if circumstances.tiny else (IMAGES, SIZE)
        data = make_shapes(Path(folder, 'data'), num_train=images, num_val=4, size=max(size // 2, 64))
        runs = {name: Path(folder, name) for name in ('whole', 'again', 'killed')}
        processes = {name: _start(recipe, circumstances, data, run, ()) for name, run in runs.items()}
        try:
            killed = processes.pop('killed')
            _wait_for(runs['killed'] / 'epoch_1.pth', killed)
            killed.kill()
            killed.wait()
            left = sorted(path.name for path in runs['killed'].glob('*.pth'))
            report(killed_with=left)
            if f'epoch_{EPOCHS}.pth' in left:
                raise TrainingError('the training ended before it could be killed, so nothing was resumed')
            processes['resumed'] = _start(recipe, circumstances, data, runs['killed'], ('--resume',))
            for name, process in processes.items():
                _end(process, runs[{'resumed': 'killed'}.get(name, name)])
        finally:
            for process in processes.values():
                process.kill()
        found = {name: digest(run / f'epoch_{EPOCHS}.pth') for name, run in runs.items()}
    report(**found, passed=len(set(found.values())) == 1)


def digest(path: Path) -> str:
    """Return the SHA-256 of the weights, their averages and the optimizer's state in a checkpoint."""
    content = torch.load(path, map_location='cpu', weights_only=True)
    sha = hashlib.sha256()
    for part in PARTS:
        for name, value in _flat(content.get(part, {}), part):
            sha.update(name.encode())
            if isinstance(value, torch.Tensor):
                sha.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
            else:
                sha.update(repr(value).encode())
    return sha.hexdigest()


def _flat(node: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _flat(value, f'{name}.{key}')
    elif isinstance(node, list | tuple):
        for number, value in enumerate(node):
            yield from _flat(value, f'{name}.{number}')
    else:
        yield name, node


def _start(
    recipe: str, circumstances: Circumstances, data: Path, work_dir: Path, more: Sequence[str]
) -> subprocess.Popen:
    chosen = RECIPES[recipe]
    options = {**chosen.options, **(chosen.tiny if circumstances.tiny else {}), 'randomness.deterministic': True}
    tiny = circumstances.tiny
    command = [
        sys.executable, '-m', 'mmcnn', 'train', chosen.config, '--data', data, '--work-dir', work_dir,
        '--device', circumstances.device, '--epochs', EPOCHS, '--seed', 1, '--workers', min(circumstances.workers, 2),
        '--img-size', TINY_SIZE if tiny else SIZE, '--batch-size', TINY_BATCH if tiny else BATCH, *more,
        '--cfg-options', *(f'{key}={value}' for key, value in options.items()),
    ]  # fmt: skip
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get('PYTHONPATH')]))
    with open(_said(work_dir), 'ab') as said:
        return subprocess.Popen(
            [*map(str, command)], env=dict(os.environ, PYTHONPATH=path, **ENVIRONMENT), stdout=said, stderr=said
        )


def _said(work_dir: Path) -> Path:
    return work_dir.with_suffix('.txt')


def _wait_for(path: Path, process: subprocess.Popen) -> None:
    while not path.exists():
        if process.poll() is not None:
            _end(process, path.parent)
        time.sleep(0.01)


def _end(process: subprocess.Popen, work_dir: Path) -> None:
    if process.wait():
        last = (_said(work_dir).read_text(errors='replace').strip().splitlines() or [''])[-1]
        raise TrainingError(f'a training ended with exit code {process.returncode}: {last}')
