"""Activity of a step on a device: kernels, copies and waits, from PyTorch's profiler."""

from __future__ import annotations

import json
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

#: Number of kernels and operators that are listed.
TOP = 15
#: Maximum length of a kernel's name; templates would fill pages.
LONGEST = 140
#: Events of the device, CUDA calls in which the host waits for it, and operators that do so.
_ON_DEVICE = ('kernel', 'gpu_memcpy', 'gpu_memset')
_WAITS = ('cudaStreamSynchronize', 'cudaEventSynchronize', 'cudaDeviceSynchronize')
_READS = ('aten::item', 'aten::is_nonzero', 'aten::nonzero', 'aten::_local_scalar_dense')


def profiled(step: Callable[[], None], steps: int, device: torch.device) -> dict[str, Any]:
    """Profile some steps; see :func:`summary`."""
    activities = [ProfilerActivity.CPU]
    if device.type == 'cuda':
        activities.append(ProfilerActivity.CUDA)
        torch.cuda.synchronize(device)
    with profile(activities=activities) as found:
        for _ in range(steps):
            step()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'trace.json')
        found.export_chrome_trace(str(path))
        return summary(json.loads(path.read_text())['traceEvents'], steps)


def summary(events: Iterable[dict], steps: int) -> dict[str, Any]:
    """Return numbers per step from the events of a Chrome trace.

    Args:
        events: events of some steps.
        steps: number of steps.

    Returns:
        ``kernels``, ``copies`` (by direction), ``waits`` (calls in which the host waits for the device, except at the
        end of the profile) and ``reads`` (operators) of a step; ``idle_share``, the fraction of the time from the first
        to the last activity of the device in which it is idle; ``top_kernels`` and ``top_operators`` by their time on
        the device, ``[name, milliseconds per step, times per step]``.
    """
    spans, kernels, copies, waits, reads = [], Counter(), Counter(), Counter(), Counter()
    kernel_time, operator_time, operator_times, names = Counter(), Counter(), Counter(), {}
    timed = [event for event in events if event.get('ph') == 'X']
    for event in timed:
        kind, name, arguments = event.get('cat'), event['name'], event.get('args', {})
        if kind == 'cpu_op':
            names[arguments.get('External id')] = name
            if name in _READS:
                reads[name] += 1
        elif kind in ('cuda_runtime', 'cuda_driver') and name in _WAITS:
            waits[name] += 1
        elif kind in _ON_DEVICE:
            spans.append((event['ts'], event['ts'] + event['dur']))
            if kind == 'kernel':
                kernels[name] += 1
            else:
                copies[_direction(name)] += 1
            kernel_time[name] += event['dur']
    if 'cudaDeviceSynchronize' in waits:
        waits['cudaDeviceSynchronize'] -= 1
    for event in timed:
        if event.get('cat') in _ON_DEVICE:
            operator = names.get(event.get('args', {}).get('External id'), 'unknown')
            operator_time[operator] += event['dur']
            operator_times[operator] += 1
    return dict(
        kernels=round(sum(kernels.values()) / steps, 1),
        copies=_a_step(copies, steps),
        waits=_a_step(waits, steps),
        reads=_a_step(reads, steps),
        idle_share=_idle(spans),
        top_kernels=[
            [name[:LONGEST], round(time / steps / 1e3, 3), round(kernels[name] / steps, 1)]
            for name, time in kernel_time.most_common(TOP)
        ],
        top_operators=[
            [name, round(time / steps / 1e3, 3), round(operator_times[name] / steps, 1)]
            for name, time in operator_time.most_common(TOP)
        ],
    )


def places_of_waits(step: Callable[[], None]) -> list[list[Any]]:
    """Return where in Python a step makes the host wait for the device: ``[place, times]``, most frequent first."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter('always')
        torch.cuda.set_sync_debug_mode('warn')
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    places = Counter(
        f'{_short(each.filename)}:{each.lineno}' for each in found if 'called a synchronizing' in str(each.message)
    )
    return [list(pair) for pair in places.most_common()]


def _short(path: str) -> str:
    return re.sub(r'^.*/(?:site-packages|dist-packages)/|^.*/(?=mmcnn/)', '', path)


def _direction(name: str) -> str:
    found = re.search(r'(HtoD|DtoH|DtoD|Memset)', name)
    return found[1] if found else name


def _a_step(counts: Counter, steps: int) -> dict[str, float]:
    return {name: round(count / steps, 1) for name, count in counts.most_common() if count}


def _idle(spans: list[tuple[float, float]]) -> float | None:
    """Return the fraction that no span covers; None without any."""
    if not spans:
        return None
    spans.sort()
    first, reached, busy = spans[0][0], spans[0][0], 0.0
    for start, end in spans:
        busy += max(end - max(start, reached), 0)
        reached = max(reached, end)
    return round(1 - busy / (reached - first), 4) if reached > first else 0.0
