"""Keeps watch over the processes of a training: signals, the other ranks, the data-loading workers."""

from .data_workers import guard_workers, worker_death
from .rank_watch import RankWatch
from .stop_signals import StopSignals, end_now

__all__ = ['RankWatch', 'StopSignals', 'end_now', 'guard_workers', 'worker_death']
