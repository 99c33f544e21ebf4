"""Ranks of the simulated trainings of ``mmcnn benchmark scale``, as programs of their own.

``python -m mmcnn.benchmarks.rank load KIND ROOT WORKERS`` is one rank: it reads a data set, starts its data-loading
processes, prints what that took and waits for a line. ``... exchange FOLDER WORLD REPEATS NUMBERS`` forks all ranks
and prints what a message between them takes.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import sys
import time
import warnings
from collections.abc import Iterator
from itertools import islice
from multiprocessing.connection import wait
from pathlib import Path
from statistics import median
from typing import Any

#: Images of a batch, and batches that each data-loading process prepares.
BATCH, BATCHES = 16, 3


def load(kind: str, root: str, workers: int) -> tuple[dict[str, float], Iterator[Any]]:
    """Read a data set and take batches of it.

    Returns:
        seconds of reading, of starting the data-loading processes and until the first batch, and the peak memory of
        reading in bytes, which includes the imports; and the batches: without them the processes end.
    """
    from mmengine.dataset import pseudo_collate
    from torch.utils.data import DataLoader

    from mmcnn.benchmarks.training_set import build

    warnings.filterwarnings('ignore', message='This DataLoader will create')  # more processes than cores are meant
    start = time.perf_counter()
    dataset = build(kind, root)
    read = time.perf_counter() - start
    status = Path('/proc/self/status').read_text()
    peak = 1024 * int(re.search(r'VmHWM:\s+(\d+) kB', status)[1])
    loader = DataLoader(
        dataset, BATCH, shuffle=True, num_workers=workers, collate_fn=pseudo_collate, persistent_workers=True
    )
    start = time.perf_counter()
    batches = iter(loader)
    started = time.perf_counter() - start
    next(batches)
    first = time.perf_counter() - start
    for _ in islice(batches, BATCHES * workers):
        pass
    return dict(read=read, started=started, first=first, peak=peak), batches


def exchange(folder: str, world: int, repeats: int, numbers: int) -> dict[str, float]:
    """Exchange messages of as many numbers between ranks over gloo.

    Returns:
        CPU seconds of a rank, the median of all, and seconds until the last one has it, for each message.
    """
    import torch

    torch.set_num_threads(1)
    # Forked, because 64 imports of PyTorch would take minutes.
    context = multiprocessing.get_context('fork')
    found = context.SimpleQueue()
    ranks = [
        context.Process(target=_rank, args=(folder, rank, world, repeats, numbers, found)) for rank in range(world)
    ]
    for rank in ranks:
        rank.start()
    running = {rank.sentinel: rank for rank in ranks}
    while running:
        for sentinel in wait([*running]):
            ended = running.pop(sentinel)
            ended.join()  # its sentinel is ready a moment before its exit code is
            if code := ended.exitcode:
                for other in ranks:  # without one of them they wait for minutes
                    other.kill()
                raise SystemExit(f'a rank ended with exit code {code}')
    cpu, wall = zip(*(found.get() for _ in ranks), strict=True)
    return dict(cpu=median(cpu), wall=max(wall))


def _rank(folder: str, rank: int, world: int, repeats: int, numbers: int, found: Any) -> None:
    import torch
    from torch import distributed

    meeting = f'file://{folder}/ranks'  # quoted, it would be another folder
    distributed.init_process_group('gloo', init_method=meeting, rank=rank, world_size=world)
    message = torch.zeros(numbers)
    for _ in range(3):  # connections are made at the first
        distributed.all_reduce(message, distributed.ReduceOp.MAX)
    distributed.barrier()
    cpu, start = time.process_time(), time.perf_counter()
    for _ in range(repeats):
        distributed.all_reduce(message, distributed.ReduceOp.MAX)
    found.put(((time.process_time() - cpu) / repeats, (time.perf_counter() - start) / repeats))
    distributed.barrier()
    os._exit(0)  # gloo's threads and the interpreter may deadlock at exit


def main() -> None:
    """Do what the arguments say and print the result in one line."""
    what, text, *others = sys.argv[1:]
    if what == 'load':
        root, workers = others
        found, batches = load(text, root, int(workers))
        print(json.dumps(found), flush=True)
        sys.stdin.readline()
        del batches
    else:
        print(json.dumps(exchange(text, *map(int, others))), flush=True)


if __name__ == '__main__':
    main()
