"""Keeps watch over the processes of a training: signals, the other ranks, the data-loading workers."""

from .data_workers import dead_worker, guard_workers, start_failure, worker_death
from .rank_watch import RankWatch
from .stop_signals import StopSignals, end_now

__all__ = ['RankWatch', 'StopSignals', 'dead_worker', 'end_now', 'guard_workers', 'start_failure', 'worker_death']
