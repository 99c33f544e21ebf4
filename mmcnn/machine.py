"""Description of the machine that a number was measured on."""

from __future__ import annotations

import functools
import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from mmcnn.version import __version__

#: Processor flags that decide which kernels PyTorch uses.
FLAGS = ('avx2', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'avx512_fp16', 'amx_bf16', 'amx_int8', 'asimd', 'bf16', 'sve')


def machine() -> dict[str, Any]:
    """Return processor, its flags, usable cores, load, versions and the date (UTC)."""
    text = _read('/proc/cpuinfo')
    model = re.search(r'^model name\s*:\s*(.+)$', text, flags=re.MULTILINE)
    flags = re.search(r'^(?:flags|Features)\s*:\s*(.+)$', text, flags=re.MULTILINE)
    known = set(flags[1].split()) if flags else set()
    return dict(
        processor=model[1] if model else platform.processor() or platform.machine(),
        flags=[flag for flag in FLAGS if flag in known],
        cores=len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count(),
        load=round(os.getloadavg()[0], 1) if hasattr(os, 'getloadavg') else None,
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        threads=torch.get_num_threads(),
        python=platform.python_version(),
        torch=torch.__version__,
        mmcnn=__version__,
        date=datetime.now(UTC).date().isoformat(),
    )


@functools.cache
def cpu_vendor() -> str:
    """Return the name that x86 processors give their vendor, for example 'GenuineIntel'; empty if there is none."""
    found = re.search(r'^vendor_id\s*:\s*(.+)$', _read('/proc/cpuinfo'), flags=re.MULTILINE)
    return found[1] if found else ''


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ''
