"""Speed of the check of a data folder compared with decoding its images, and of annotations of COCO's size."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2

from mmcnn.benchmarks.coco_data import BOXES_PER_IMAGE, write_folder
from mmcnn.benchmarks.comparison import Comparison, Say, Side, compare
from mmcnn.benchmarks.options import CheckOptions
from mmcnn.benchmarks.pipeline import NUM_PHOTOGRAPHS, make_photographs
from mmcnn.datasets.check.detector import check_data
from mmcnn.image_file import read_image_file

#: The side that the others are compared with.
_PEER = 'MMDetection, CocoDataset'
#: Program that a new process runs on the folder of annotations: prints seconds and its peak memory in 10^9 bytes. It
#: does not use ``getrusage``, whose peak memory includes that of the parent process at the start.
_MEASURED = """
import re, sys, time
from pathlib import Path
{imports}
start = time.perf_counter()
{work}
seconds = time.perf_counter() - start
print(seconds, int(re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1]) * 1024 / 1e9)
"""
_WORK = {
    'mmcnn, check': (
        'from mmcnn.datasets.check.detector import check_data',
        'check_data(sys.argv[1], names=("train",), decode=False).usable()',
    ),
    'mmcnn, MosaicDataset': (
        'from mmcnn.benchmarks.training_set import build',
        'build("mmcnn.MosaicDataset", sys.argv[1])',
    ),
    _PEER: (
        'from mmcnn.benchmarks.training_set import build',
        'build("CocoDataset", sys.argv[1])',
    ),
}


def measure(options: CheckOptions, say: Say) -> list[Comparison]:
    """Measure images per second on all cores; then seconds and memory of annotations, each time in a new process."""
    found = []
    with tempfile.TemporaryDirectory() as folder, _own_cache(Path(folder, 'cache')):
        root = make_photographs(Path(folder, 'photographs'), copies=max(1, options.images // NUM_PHOTOGRAPHS))
        count = sum(1 for _ in (root / 'images').iterdir())
        say(f'{count:,} photographs of 640 x 480 pixels; {options.annotated:,} images with annotations')
        sides = [
            Side('mmcnn', lambda: count / check_seconds(root)),
            Side('decoding alone', lambda: count / decoding_seconds(root), peer=True),
        ]
        found.append(compare('photographs', sides, options.runs, 'images/s', more_is_better=True))
        annotations = write_folder(Path(folder, 'coco'), options.annotated, round(BOXES_PER_IMAGE * options.annotated))
        found += _of_annotations(annotations, options.runs)
    return found


def check_seconds(root: Path) -> float:
    """Return the seconds of a complete check of a folder without cached results."""
    for file in Path(os.environ['XDG_CACHE_HOME']).rglob('*.json'):
        file.unlink()
    start = time.perf_counter()
    check_data(root).usable()
    return time.perf_counter() - start


def decoding_seconds(root: Path) -> float:
    """Return the seconds in which as many processes decode all images once and do nothing else."""
    paths = sorted((root / 'images').iterdir())
    start = time.perf_counter()
    with multiprocessing.get_context('fork').Pool(len(os.sched_getaffinity(0)), cv2.setNumThreads, (0,)) as pool:
        for _ in pool.imap_unordered(_decode, paths, chunksize=16):
            pass
    return time.perf_counter() - start


def _decode(path: Path) -> None:
    read_image_file(path)


def _of_annotations(root: Path, runs: int) -> list[Comparison]:
    """Measure seconds and memory of each task; one process returns both, so the second is stored with the first."""
    memory: dict[str, list[float]] = {name: [] for name in _WORK}

    def seconds(name: str) -> float:
        taken, most = in_new_process(name, root)
        memory[name].append(most)
        return taken

    found = compare('annotations', [Side(name, partial(seconds, name), name == _PEER) for name in _WORK], runs)
    kept = {name: values[-runs:] for name, values in memory.items()}  # without the warm-up round
    return [found, Comparison('annotations, memory', 'GB', kept, found.peers)]


def in_new_process(name: str, root: Path) -> tuple[float, float]:
    """Return the seconds of a task without the imports, and the peak memory of its process in 10^9 bytes.

    Raises:
        subprocess.CalledProcessError: it fails.
    """
    imports, work = _WORK[name]
    command = [sys.executable, '-c', _MEASURED.format(imports=imports, work=work), str(root)]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    taken, most = printed.split()[-2:]
    return float(taken), float(most)


@contextmanager
def _own_cache(folder: Path) -> Iterator[None]:
    """Put the cache of a check into a separate folder."""
    before = os.environ.get('XDG_CACHE_HOME')
    os.environ['XDG_CACHE_HOME'] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ['XDG_CACHE_HOME']
        else:
            os.environ['XDG_CACHE_HOME'] = before
