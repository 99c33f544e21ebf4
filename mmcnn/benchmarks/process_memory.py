"""Memory of processes, where pages that several share are counted once (Linux)."""

from __future__ import annotations

from pathlib import Path


def proportional_set_size(pid: int) -> int:
    """Return the memory of a process in bytes; each page shared by n processes counts as 1/n."""
    return memory_of(pid)['Pss']


def memory_of(pid: int) -> dict[str, int]:
    """Return the entries of ``/proc/PID/smaps_rollup`` in bytes: ``Rss``, ``Pss``, ``Private_Dirty`` ...

    Raises:
        RuntimeError: the kernel does not report them.
    """
    lines = (line.split() for line in Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines())
    found = {words[0].rstrip(':'): 1024 * int(words[1]) for words in lines if words[-1] == 'kB'}
    if 'Pss' not in found:
        raise RuntimeError(f'/proc/{pid}/smaps_rollup has no Pss')
    return found


def family(pid: int) -> list[int]:
    """Return a process and the processes that it started."""
    children = [int(child) for task in Path(f'/proc/{pid}/task').iterdir() for child in _children(task)]
    return [pid, *(each for child in children for each in family(child))]


def _children(task: Path) -> list[str]:
    return (task / 'children').read_text().split()
