"""The memory that this machine provides; without PyTorch, because bug reports need it if that is broken."""

from __future__ import annotations

import os
from pathlib import Path

#: Files with the limit of a control group, such as a container's: version 2, version 1.
_LIMITS = ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes')


def memory_limit() -> int:
    """Return the number of bytes that this process may use: the machine's memory, or less in a control group."""
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    return min(memory, control_group_limit() or memory)


def control_group_limit() -> int | None:
    """Return the limit of the control group in bytes; None if it has none, or this system knows no control groups."""
    for path in _LIMITS:
        try:
            limit = Path(path).read_text(encoding='utf-8').strip()
        except OSError:
            continue
        return int(limit) if limit.isdigit() else None
    return None
