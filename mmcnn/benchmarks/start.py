"""Cost of starting programs up to a first result, compared with an import of PyTorch and OpenCV.

CPU seconds of a process and its children show the necessary work; wall time also depends on the disk and on other
programs of the machine.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from mmcnn.benchmarks.comparison import Comparison, Say
from mmcnn.benchmarks.loading import write_checkpoint
from mmcnn.benchmarks.options import StartOptions
from mmcnn.benchmarks.programs import other_programs
from mmcnn.benchmarks.wired import wired_config
from mmcnn.errors import UsageError
from mmcnn.inference.detector import Detector
from mmcnn.interleaved import cpu_seconds, in_turn
from mmcnn.models.wiring import set_num_classes

#: What all others are compared with.
BASE = 'import torch, cv2'
#: Without compiled operators MMDetection cannot be imported; dummy names instead cost nothing.
_MMDETECTION = """
import importlib.util, sys, types
if importlib.util.find_spec('mmcv._ext') is None:
    sys.modules['mmcv._ext'] = types.ModuleType('mmcv._ext')
    sys.modules['mmcv._ext'].__getattr__ = lambda name: None
import mmdet.models
"""
#: Ends a training after the first step of the optimizer.
_FIRST_STEP = """
import os
from mmengine.optim import OptimWrapper

step = OptimWrapper.step


def step_and_end(*args, **kwargs):
    step(*args, **kwargs)
    os._exit(0)


OptimWrapper.step = step_and_end
"""
#: Number of classes of the written checkpoint.
_CLASSES = 2
_SHOWN = 5  # lines of a failed program


def measure(options: StartOptions, say: Say) -> list[Comparison]:
    """Measure CPU seconds and wall time of each program, or the number of instructions that it executes.

    Raises:
        UsageError: valgrind is needed to count instructions but not installed, a program fails, or the command of
            another one cannot be parsed.
    """
    if options.count == 'instructions' and shutil.which('valgrind') is None:
        raise UsageError('--count instructions needs valgrind, which is not installed: apt-get install valgrind')
    with tempfile.TemporaryDirectory() as work:
        commands = programs(options, Path(work), say)
        if options.count == 'instructions':
            sides = {name: _counting(name, command, work) for name, command in commands.items()}
            return [Comparison('start', 'instructions', in_turn(sides, options.runs), frozenset([BASE]))]
        passed: dict[str, list[float]] = {name: [] for name in commands}
        sides = {name: _timing(name, command, work, passed[name]) for name, command in commands.items()}
        spent = in_turn(sides, options.runs)
        passed = {name: values[-options.runs :] for name, values in passed.items()}  # without the warm-up
        return [Comparison('start: CPU', 's', spent, frozenset([BASE])),
                Comparison('start: wall', 's', passed, frozenset([BASE]))]  # fmt: skip


def programs(options: StartOptions, work: Path, say: Say) -> dict[str, list[str]]:
    """Return the commands by name. Their inputs are written to a folder, and their outputs, too.

    Args:
        options: the config, and the size of its images.
        work: working folder.
        say: takes the time of the network itself.
    """
    cfg = wired_config(options)
    set_num_classes(cfg.model, _CLASSES)
    checkpoint, image = work / 'model.pth', work / 'image.jpg'
    write_checkpoint(cfg, checkpoint)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    cv2.imwrite(str(image), cv2.resize(pixels, (640, 480)))
    (work / 'first_step.py').write_text(_FIRST_STEP)
    detector = Detector(checkpoint, device='cpu')
    detector(image)
    say(f'{options.config}: the network itself takes {cpu_seconds(lambda: detector(image), 5)():.2f} CPU seconds for '
        'the second image')  # fmt: skip
    python, mmcnn = [sys.executable, '-c'], [sys.executable, '-m', 'mmcnn']
    train = [
        *mmcnn, 'train', options.config, '--data', 'demo', '--epochs', '1', '--img-size', str(options.img_size),
        '--workers', '0', '--logger', 'none', '--device', 'cpu', '--work-dir', 'run', '--import', 'first_step',
    ]  # fmt: skip
    own = {
        BASE: [*python, BASE],
        'import mmdet.models': [*python, _MMDETECTION],
        'mmcnn --help': [*mmcnn, '--help'],
        'mmcnn zoo': [*mmcnn, 'zoo'],
        'mmcnn infer': [*mmcnn, 'infer', str(checkpoint), str(image), '--device', 'cpu', '--out', 'found'],
        'mmcnn train, first step': train,
    }
    return own | other_programs(options.peers, own)


def _timing(name: str, command: Sequence[str], work: str, passed: list[float]) -> Callable[[], float]:
    """Return the CPU seconds of a program, and append its wall time to a list."""

    def measured() -> float:
        before, start = _cpu_of_children(), time.perf_counter()
        _run(name, command, work)
        passed.append(time.perf_counter() - start)
        return _cpu_of_children() - before

    return measured


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _counting(name: str, command: Sequence[str], work: str) -> Callable[[], float]:
    """Return the number of instructions that a program executes, without its other processes."""

    def measured() -> float:
        said = _run(name, ['valgrind', '--tool=callgrind', '--callgrind-out-file=/dev/null', *command], work)
        return float(instructions(said))

    return measured


def instructions(said: str) -> int:
    """Return the number of instructions in the output of callgrind.

    Raises:
        UsageError: there is none.
    """
    found = re.search(r'Collected : (\d+)', said)
    if found is None:
        raise UsageError(f'callgrind counted no instructions: {said.strip()[-200:]}')
    return int(found[1])


def _run(name: str, command: Sequence[str], work: str) -> str:
    """Run a program on one thread, and return its output.

    Raises:
        UsageError: it fails; the message has the end of its output.
    """
    for folder in ('found', 'run'):
        shutil.rmtree(Path(work, folder), ignore_errors=True)
    environment: Mapping[str, str] = {**os.environ, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=work,
        env=environment,
        text=True,
        errors='replace',
    )
    if done.returncode != 0:
        said = '\n'.join(done.stdout.splitlines()[-_SHOWN:])
        raise UsageError(f'{name}: the program ended with exit code {done.returncode}. The end of its output:\n{said}')
    return done.stdout
