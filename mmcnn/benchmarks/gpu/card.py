"""Stage 1: the peak rates of the card, to which all other numbers are related."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from mmcnn.benchmarks.gpu.measurement import Circumstances, Report, Timer

#: Side of the matrices, and bytes that are copied on the device and to it; in the tiny form.
SIDE, COPIED, UPLOADED = 8192, 2**30, 2**28
TINY_SIDE, TINY_COPIED = 128, 2**20
#: Number of calls that are timed together, and of timings.
CALLS, RUNS = 10, 5


def measure(circumstances: Circumstances, timer: Timer, report: Report) -> None:
    """Measure rates of matrix products (in float32 with and without TF32, bfloat16, float16) and of copies."""
    cuda, tiny = circumstances.device == 'cuda', circumstances.tiny
    if cuda:
        found = torch.cuda.get_device_properties(0)
        report(
            card=found.name, memory=found.total_memory, capability=f'{found.major}.{found.minor}',
            processors=found.multi_processor_count, cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version(),
        )  # fmt: skip
    side, copied, uploaded = (TINY_SIDE, TINY_COPIED, TINY_COPIED) if tiny else (SIDE, COPIED, UPLOADED)
    device = torch.device(circumstances.device)
    for name, dtype, tf32 in (
        ('fp32', torch.float32, False),
        ('tf32', torch.float32, True),
        ('bf16', torch.bfloat16, False),
        ('fp16', torch.float16, False),
    ):
        if name == 'tf32' and not cuda:
            continue
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = tf32
        try:
            a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
            seconds = seconds_of(lambda a=a, b=b: a @ b, device)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before
        report(**{f'{name}_tflops': round(2 * side**3 / seconds / 1e12, 3)})
    source = torch.empty(copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    # Each byte is read and written.
    report(copy_gb_per_second=round(2 * copied / seconds_of(lambda: target.copy_(source), device) / 1e9, 1))
    if cuda:
        pinned = torch.empty(uploaded, dtype=torch.uint8, pin_memory=True)
        seconds = seconds_of(lambda: target[:uploaded].copy_(pinned, non_blocking=True), device)
        report(upload_gb_per_second=round(uploaded / seconds / 1e9, 1))


def seconds_of(call: Callable[[], object], device: torch.device, calls: int = CALLS, runs: int = RUNS) -> float:
    """Return the seconds of a call on a device: median of several runs of several calls each, after a warm-up run."""
    times = []
    for run in range(runs + 1):
        _wait(device)
        start = time.perf_counter()
        for _ in range(calls):
            call()
        _wait(device)
        if run:
            times.append((time.perf_counter() - start) / calls)
    return statistics.median(times)


def _wait(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
