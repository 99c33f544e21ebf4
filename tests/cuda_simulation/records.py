"""Records of waits, copies, faults and kernels on the simulated device, and of the lines that cause them."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

_HERE = str(Path(__file__).resolve().parent)
_ROOT = str(Path(__file__).resolve().parents[2]) + os.sep
_SITE = f'{os.sep}site-packages{os.sep}'
_FRAMEWORKS = tuple(f'{_SITE}{name}{os.sep}' for name in ('mmdet', 'mmengine', 'mmcv'))
_NMS = re.compile(r'mmcnn/ops/\w*(nms|greedy)')
_TORCH = (f'{_SITE}torch{os.sep}', f'{os.sep}contextlib.py', '<')


@dataclass
class Record:
    """A record of part of a run. The keys of the counters are (what, where).

    Attributes:
        waits: operators that make the host wait for the device.
        pageable: ``non_blocking`` copies of memory that is not pinned, for which the driver may wait nevertheless (CUDA
            Driver API, "API synchronization behavior").
        overlapped: copies for which nothing waits.
        faults: what a real device refuses, if the simulation is not strict.
        kernels: operators that start a kernel, by line on request.
    """

    waits: Counter = field(default_factory=Counter)
    pageable: Counter = field(default_factory=Counter)
    overlapped: Counter = field(default_factory=Counter)
    faults: Counter = field(default_factory=Counter)
    kernels: Counter = field(default_factory=Counter)

    @property
    def waits_in_nms(self) -> int:
        """The number of ``waits`` that mmcnn's NMS causes."""
        return sum(times for (_, where), times in self.waits.items() if _NMS.search(where))

    def report(self, most: int = 15) -> str:
        """A table in plain text, the most frequent first, with the ``most`` lines that start the most kernels."""
        lines = []
        for name in ('waits', 'pageable', 'overlapped', 'faults'):
            counter = getattr(self, name)
            lines.append(f'{name}: {counter.total()}')
            lines += [f'  {times:5d}  {what:38s}  {where}' for (what, where), times in counter.most_common()]
        lines.append(f'kernels: {self.kernels.total()}')
        lines += [f'  {times:5d}  {where}' for where, times in self.kernels.most_common(most) if where]
        return '\n'.join(lines)


def caller() -> str:
    """The framework's line and the innermost line of mmcnn that called it; without one, the innermost line of all.

    C++ starts the operators of the backward pass, so they have the line that called ``backward``.
    """
    frame, framework, other, backward = sys._getframe(1), '', '', ''
    while frame is not None:
        path = frame.f_code.co_filename
        if not path.startswith(_HERE) or os.path.basename(path).startswith('test_'):
            if path.startswith(_ROOT + 'mmcnn' + os.sep):
                return (f'{framework} < ' if framework else '') + _place(frame) + backward
            if path.endswith(('autograd/graph.py', 'torch/autograd/__init__.py')):
                backward = ' (backward)'
            if not framework and any(part in path for part in _FRAMEWORKS):
                framework = _place(frame)
            if not other and not any(part in path if part != '<' else path.startswith('<') for part in _TORCH):
                other = _place(frame)
        frame = frame.f_back
    return (framework or other) + backward


def _place(frame) -> str:
    path = frame.f_code.co_filename
    short = path.removeprefix(_ROOT) if path.startswith(_ROOT) else path.rpartition(_SITE)[2]
    return f'{short}:{frame.f_lineno} {frame.f_code.co_name}'
