"""What a training step on the CPU gains where freed memory is kept, instead of handed back to the kernel."""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Sequence


def measure(command: Sequence[str], runs: int) -> dict[str, list[float]]:
    """Seconds of a step with freed memory kept and handed back, in turn (A B A B ...), each in a new process.

    Args:
        command: prints the seconds last; with ``--keep-memory`` it keeps freed memory, without it does not.
        runs: of each side.
    """
    seconds: dict[str, list[float]] = {'kept': [], 'handed back': []}
    for run in range(runs):
        for side, option in (('kept', ['--keep-memory']), ('handed back', [])):
            output = subprocess.run([*command, *option], capture_output=True, text=True, check=True).stdout
            seconds[side].append(float(output.split()[-1]))
            print(f'run {run + 1}, {side}: {seconds[side][-1]:.3f} s a step', flush=True)
    return seconds


def report(seconds: dict[str, list[float]]) -> str:
    """Medians and their ratio, in a line."""
    kept, back = (statistics.median(values) for values in seconds.values())
    runs = len(seconds['kept'])
    return f'medians of {runs}: kept {kept:.3f} s, handed back {back:.3f} s, ratio {kept / back:.2f}'
