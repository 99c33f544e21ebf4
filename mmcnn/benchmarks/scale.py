"""Many processes on one machine: their memory and start with annotations of COCO's size, and the messages of a step."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean

import torch

from mmcnn.benchmarks.coco_data import BOXES_PER_IMAGE, write_folder
from mmcnn.benchmarks.comparison import Comparison, Say
from mmcnn.benchmarks.options import ScaleOptions
from mmcnn.benchmarks.process_memory import family, memory_of
from mmcnn.benchmarks.wired import wired_config
from mmcnn.errors import MmcnnError
from mmcnn.interleaved import in_turn
from mmcnn.registry import MODELS

#: Data sets with their pipelines, by side.
OURS, PEER = 'mmcnn', 'MMDetection'
KINDS = {OURS: 'mmcnn.MosaicDataset', PEER: 'MultiImageMixDataset'}
#: Names of the message of each step (whether a loss is not finite, whether a signal has come), and of the gradients.
MESSAGE, GRADIENTS = 'message of a step', 'gradients'
#: Numbers in the message, and how often each of both is sent for a figure.
NUMBERS, MESSAGES, REDUCTIONS = 2, 200, 3


def measure(options: ScaleOptions, say: Say) -> list[Comparison]:
    """Measure memory and times of one rank beside MMDetection's data set, of many ranks, and of their messages.

    Ranks are programs that read the annotations and start their data-loading processes, without a network. Memory is
    the sum over all processes, where pages that are shared count once. Messages are CPU seconds of a rank: over a
    network the time of the wire, and the wait for the slowest rank, would be added.

    Raises:
        MmcnnError: a rank ends without a result.
    """
    found = []
    with tempfile.TemporaryDirectory() as folder:
        root = write_folder(Path(folder, 'coco'), options.annotated, round(BOXES_PER_IMAGE * options.annotated))
        say(f'{options.annotated:,} images with annotations')
        rounds: dict[str, list[dict[str, float]]] = {OURS: [], PEER: []}
        for number in range(options.runs):
            for side in sorted(rounds, reverse=number % 2 == 1):
                rounds[side].append(loading(KINDS[side], root, 1, options.workers))
        found += _comparisons(f'1 rank, {options.workers} workers', rounds)
        several = [loading(KINDS[OURS], root, options.ranks, options.workers) for _ in range(options.runs)]
        found += _comparisons(f'{options.ranks} ranks, {options.workers} workers', {OURS: several})
        found.append(_messages(options, say))
    return found


def loading(kind: str, root: Path, ranks: int, workers: int) -> dict[str, float]:
    """Start ranks with their data-loading processes.

    Returns:
        memory of all processes together and, on average, what a data-loading process has for itself, in MB; the largest
        peak of a rank while it reads, in MB; the longest seconds of reading, of starting the processes, and from there
        to the first batch.
    """
    command = [sys.executable, '-m', 'mmcnn.benchmarks.rank', 'load', kind, str(root), str(workers)]
    with _started([command] * ranks) as processes:
        printed = [_line(process) for process in processes]
        families = [family(process.pid) for process in processes]
        memory = [[memory_of(pid) for pid in pids] for pids in families]
        own = [_private(each) for main, *others in memory for each in others]
        longest = {key: max(each[key] for each in printed) for key in ('read', 'started', 'first')}
        return dict(
            memory=sum(each['Pss'] for pids in memory for each in pids) / 1e6,
            own=mean(own) / 1e6,
            peak=max(each['peak'] for each in printed) / 1e6,
            **longest,
        )


def exchanging(world: int, repeats: int, numbers: int) -> float:
    """Return the CPU seconds that a rank spends on a message, the median of all ranks.

    Args:
        world: number of ranks.
        repeats: number of messages.
        numbers: float32 numbers in each.
    """
    with tempfile.TemporaryDirectory() as folder:
        arguments = map(str, (folder, world, repeats, numbers))
        with _started([[sys.executable, '-m', 'mmcnn.benchmarks.rank', 'exchange', *arguments]]) as processes:
            return _line(processes[0])['cpu']


def _messages(options: ScaleOptions, say: Say) -> Comparison:
    with torch.device('meta'):
        model = MODELS.build({'_scope_': 'mmdet', **wired_config(options).model})
    gradients = sum(each.numel() for each in model.parameters() if each.requires_grad)
    say(f'{options.config} has {gradients:,} gradients ({4 * gradients / 1e6:.1f} MB)')
    sides = {
        MESSAGE: lambda: 1e3 * exchanging(options.world, MESSAGES, NUMBERS),
        GRADIENTS: lambda: 1e3 * exchanging(options.world, REDUCTIONS, gradients),
    }
    return Comparison(f'{options.world} ranks', 'ms', in_turn(sides, options.runs), frozenset({GRADIENTS}))


def _comparisons(row: str, rounds: dict[str, list[dict[str, float]]]) -> list[Comparison]:
    names = {
        'memory': ('memory', 'MB'),
        'own': ('private memory of a worker', 'MB'),
        'peak': ('peak of a rank', 'MB'),
        'read': ('annotations', 's'),
        'started': ('start of workers', 's'),
        'first': ('to the first batch', 's'),
    }
    peers = frozenset({PEER} & {*rounds})
    return [
        Comparison(f'{row}: {name}', unit, {side: [each[key] for each in rounds[side]] for side in rounds}, peers)
        for key, (name, unit) in names.items()
    ]


@contextlib.contextmanager
def _started(commands: Sequence[Sequence[str]]) -> Iterator[list[subprocess.Popen]]:
    with contextlib.ExitStack() as stack:
        pipe = subprocess.PIPE
        # Each in a session of its own, so that a signal reaches its children, too.
        processes = [
            subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
            for command in commands
        ]
        for process in processes:
            stack.callback(process.wait)
            stack.callback(process.stdout.close)
            stack.callback(process.stdin.close)  # then a rank ends
        try:
            yield processes
        except BaseException:
            for process in processes:  # without one of them the others wait forever
                with contextlib.suppress(ProcessLookupError):  # it has ended, with all its children
                    os.killpg(process.pid, signal.SIGKILL)
            raise


def _line(process: subprocess.Popen) -> dict[str, float]:
    """Return what a rank has printed last."""
    for line in process.stdout:
        if line.startswith('{'):
            return json.loads(line)
    raise MmcnnError(f'{shlex.join(process.args[1:])} ended without a result (exit code {process.wait()})')


def _private(memory: dict[str, int]) -> int:
    return memory['Private_Clean'] + memory['Private_Dirty']
