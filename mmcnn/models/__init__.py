"""Networks; importing this registers them all with MMEngine."""

from . import backbones, dense_heads, losses, necks, task_modules, wiring

__all__ = ['backbones', 'dense_heads', 'losses', 'necks', 'task_modules', 'wiring']
