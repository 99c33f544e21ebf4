"""Gain of forward and backward passes on the CPU if freed memory is kept instead of returned to the kernel."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mmcnn.benchmarks.comparison import Comparison, Say, Side, compare
from mmcnn.benchmarks.options import PassesOptions


def measure(options: PassesOptions, say: Say) -> list[Comparison]:
    """Measure seconds of both passes with freed memory kept and returned, in turn, each in a new process."""
    command = [sys.executable, '-m', 'mmcnn', 'benchmark', 'passes', *_arguments(options)]
    with tempfile.TemporaryDirectory() as folder:
        sides = [
            Side('kept', partial(seconds_of, [*command, '--keep-memory'], Path(folder))),
            Side('handed back', partial(seconds_of, command, Path(folder)), peer=True),
        ]
        return [compare(options.config, sides, options.runs)]


def seconds_of(command: Sequence[str], folder: Path) -> float:
    """Return the median of ``mmcnn benchmark passes`` in a separate process.

    Args:
        command: the command, to which ``--json`` is added.
        folder: folder for its result.

    Raises:
        subprocess.CalledProcessError: it fails.
    """
    file = folder / 'passes.json'
    subprocess.run([*command, '--json', str(file)], check=True, stdout=subprocess.DEVNULL)
    sides = json.loads(file.read_text())['comparisons'][0]['sides']
    return next(iter(sides.values()))['median']


def _arguments(options: PassesOptions) -> list[str]:
    found = [
        '--config', options.config, '--img-size', str(options.img_size), '--batch-size', str(options.batch_size),
    ]  # fmt: skip
    if options.backbone is not None:
        found += ['--backbone', options.backbone]
    for name in options.imports or ():
        found += ['--import', name]
    return found + [f'--cfg-options={key}={value!r}' for key, value in options.cfg_options.items()]
