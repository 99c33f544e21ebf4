"""Learning rate and momentum of the YOLO recipes, as a pure function of the position in the run."""

import math
from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop

from mmcnn.compat import private_names
from mmcnn.registry import HOOKS

SCHEDULES = ('cosine', 'linear', 'step')


def lr_factor(
    schedule: str,
    progress: float,
    lr_final: float = 0.1,
    milestones: Sequence[float] = (),
    gamma: float = 0.1,
) -> float:
    """Return the factor on the base learning rate, without the warm-up.

    Args:
        schedule (str): 'linear' (YOLOv5 from v6.1): (1 - p)(1 - lr_final) + lr_final; 'cosine' (YOLOv5 v5.0/v6.0,
            YOLOv4 WKY): (1 - cos(pi p)) / 2 * (lr_final - 1) + 1; 'step' (Darknet, mmdet): gamma ** (milestones
            reached).
        progress (float): Completed fraction p of the run, 0 to 1. The references update 'linear' and 'cosine' once per
            epoch (p = epoch / max_epochs) and 'step' every iteration (p = iteration / iterations of the run).
        lr_final (float): The factor at p = 1 for 'linear' and 'cosine'.
        milestones (Sequence[float]): For 'step', the fractions of the run after which the rate drops.
        gamma (float): For 'step', the factor of one drop.

    Raises:
        ValueError: If the schedule is unknown.
    """
    if schedule == 'linear':
        return (1 - progress) * (1 - lr_final) + lr_final
    if schedule == 'cosine':
        return (1 - math.cos(math.pi * progress)) / 2 * (lr_final - 1) + 1
    if schedule == 'step':
        return gamma ** sum(progress >= milestone for milestone in milestones)
    raise ValueError(f'unknown schedule {schedule!r}; use one of {", ".join(SCHEDULES)}')


def warmup_iters(
    warmup_epochs: float, iters_per_epoch: int, max_epochs: int, min_iters: int = 100, max_fraction: float = 1 / 3
) -> int:
    """Return the length of the warm-up in iterations: ``max(warmup_epochs, min_iters)``, at most a fraction of the run.

    Source: YOLOv5 v6.2 (at least 100 iterations; 1000 in older versions); the upper limit is for short runs.
    """
    wanted = max(round(warmup_epochs * iters_per_epoch), min_iters)
    return min(wanted, math.floor(max_fraction * max_epochs * iters_per_epoch))


def warmup_value(iteration: int, length: int, start: float, end: float, power: float = 1.0) -> float:
    """Return ``start`` at iteration 0, ``end`` from ``length`` on, and (iteration / length) ** power in between."""
    if iteration >= length:
        return end
    return start + (end - start) * (iteration / length) ** power


@HOOKS.register_module()
class ScheduleHook(Hook):
    """Sets learning rate and momentum before every iteration of an epoch-based run.

    Everything follows from (iteration, epoch, length of the run) and the optimizer's own ``defaults``, so a resumed
    run needs no state and follows the config it is resumed with. The rate is ``defaults['lr'] * lr_factor(...)``;
    during the warm-up it grows to that from ``warmup_start`` times it, or from ``warmup_bias_lr`` in the group named
    ``bias`` (:class:`~mmcnn.recipes.YOLOOptimWrapperConstructor`), and the momentum (SGD's ``momentum`` or
    Adam's first beta) from ``warmup_momentum``; a momentum of 0 stays 0. Iterations of the data loader are counted,
    accumulated or not, as in YOLOv5 (but see ``warmup_in_steps``); its growing accumulation during the warm-up is left
    out. Nothing depends on the batch size.

    Sources: YOLOv5 train.py (defaults of this class); Darknet's burn-in is ``warmup_power=4, warmup_epochs=0,
    warmup_min_iters=1000, warmup_in_steps=True, warmup_bias_lr=None, warmup_momentum=None`` with ``schedule='step',
    milestones=(0.8, 0.9)``.

    Args:
        schedule (str): 'cosine', 'linear' or 'step', see :func:`lr_factor`.
        lr_final (float): Last factor on the rate for 'cosine' and 'linear'.
        milestones (Sequence[float]): For 'step': increasing fractions of the run, each between 0 and 1.
        gamma (float): For 'step': factor of one drop.
        warmup_epochs (float): Length of the warm-up in epochs.
        warmup_min_iters (int): Minimum number of iterations of the warm-up.
        warmup_in_steps (bool): ``warmup_min_iters`` counts steps of the optimizer (Darknet, MMDetection on 8 GPUs),
            each of several iterations if gradients are accumulated.
        warmup_max_fraction (float): Maximum fraction of the run for the warm-up.
        warmup_power (float): Exponent of the warm-up's curve.
        warmup_start (float): Factor on the rate at iteration 0 (MMDetection: 0.1 or 0.001).
        warmup_bias_lr (float, optional): Rate of the biases at iteration 0. None: the same as for the others.
        warmup_momentum (float, optional): Momentum at iteration 0. None: the momentum is not changed.

    Raises:
        ValueError: From the constructor, if an argument is unknown, out of range or incompatible with the schedule;
            before training, if the config also has a ``param_scheduler`` or scales the rate with the batch
            (``auto_scale_lr``), if the training loop does not count epochs, or if ``warmup_bias_lr`` has no named
            groups to act on.
    """

    # Before RuntimeInfoHook (VERY_HIGH), which notes the rate for the log at the same point.
    priority = 'HIGHEST'

    def __init__(
        self,
        schedule: str = 'cosine',
        lr_final: float = 0.1,
        milestones: Sequence[float] = (),
        gamma: float = 0.1,
        warmup_epochs: float = 3.0,
        warmup_min_iters: int = 100,
        warmup_in_steps: bool = False,
        warmup_max_fraction: float = 1 / 3,
        warmup_power: float = 1.0,
        warmup_start: float = 0.0,
        warmup_bias_lr: float | None = 0.1,
        warmup_momentum: float | None = 0.8,
    ) -> None:
        if schedule not in SCHEDULES:
            raise ValueError(f'unknown schedule {schedule!r}; use one of {", ".join(SCHEDULES)}')
        for name, value in {
            'lr_final': lr_final,
            'gamma': gamma,
            'warmup_epochs': warmup_epochs,
            'warmup_min_iters': warmup_min_iters,
            'warmup_start': warmup_start,
            'warmup_bias_lr': warmup_bias_lr,
        }.items():
            if value is not None and value < 0:
                raise ValueError(f'{name} must not be negative, but is {value}')
        if not 0 <= warmup_max_fraction <= 1:
            raise ValueError(f'warmup_max_fraction must be a fraction of the run, 0 to 1, but is {warmup_max_fraction}')
        if warmup_power <= 0:
            raise ValueError(f'warmup_power must be positive, but is {warmup_power}')
        if warmup_momentum is not None and not 0 <= warmup_momentum < 1:
            raise ValueError(f'warmup_momentum must be in [0, 1), but is {warmup_momentum}')
        if (schedule == 'step') != bool(milestones):
            raise ValueError(
                f"milestones are for schedule 'step', which needs at least one, but got schedule {schedule!r} "
                f'with milestones {tuple(milestones)}'
            )
        if list(milestones) != sorted(set(milestones)) or not all(0 < milestone < 1 for milestone in milestones):
            raise ValueError(
                f'milestones must be increasing fractions of the run, between 0 and 1, but are {tuple(milestones)}'
            )
        self.schedule = schedule
        self.lr_final = lr_final
        self.milestones = tuple(milestones)
        self.gamma = gamma
        self.warmup_epochs = warmup_epochs
        self.warmup_min_iters = warmup_min_iters
        self.warmup_in_steps = warmup_in_steps
        self.warmup_max_fraction = warmup_max_fraction
        self.warmup_power = warmup_power
        self.warmup_start = warmup_start
        self.warmup_bias_lr = warmup_bias_lr
        self.warmup_momentum = warmup_momentum

    def before_train(self, runner) -> None:
        """Reject a run in which this schedule would be overridden or could not work."""
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise ValueError(
                f'ScheduleHook counts epochs, but the training loop is {type(runner.train_loop).__name__}; '
                'use train_cfg=dict(by_epoch=True, max_epochs=...)'
            )
        schedulers = runner.param_schedulers
        if isinstance(schedulers, dict):
            schedulers = [scheduler for group in schedulers.values() for scheduler in group]
        if schedulers:
            names = ', '.join(type(scheduler).__name__ for scheduler in schedulers)
            raise ValueError(
                f'both ScheduleHook and param_scheduler ({names}) would set the learning rate; '
                'set param_scheduler=None or remove the hook'
            )
        if (runner.auto_scale_lr or {}).get('enable', False):
            raise ValueError(
                'auto_scale_lr changes the learning rate with the batch size, but ScheduleHook uses only that of the '
                'optimizer config; set auto_scale_lr.enable=False'
            )
        groups = runner.optim_wrapper.optimizer.param_groups
        if self.warmup_bias_lr is not None and not any('name' in group for group in groups):
            raise ValueError(
                f'warmup_bias_lr={self.warmup_bias_lr} acts on the parameter group named "bias", but the groups have '
                "no names; use optim_wrapper.constructor='mmcnn.YOLOOptimWrapperConstructor' or warmup_bias_lr=None"
            )

    def before_train_iter(self, runner, batch_idx: int, data_batch: dict | tuple | list | None = None) -> None:
        """Set ``lr`` and momentum of every group for the iteration that is about to run."""
        defaults = runner.optim_wrapper.defaults
        iterations = private_names.accumulative_counts(runner.optim_wrapper) if self.warmup_in_steps else 1  # of a step
        length = warmup_iters(
            self.warmup_epochs,
            len(runner.train_dataloader),
            runner.max_epochs,
            self.warmup_min_iters * iterations,
            self.warmup_max_fraction,
        )
        by_iteration = self.schedule == 'step'
        progress = runner.iter / runner.max_iters if by_iteration else runner.epoch / runner.max_epochs
        lr = defaults['lr'] * lr_factor(self.schedule, progress, self.lr_final, self.milestones, self.gamma)
        # The wrapper's list also has the entry that MMEngine logs as base_lr.
        for group in runner.optim_wrapper.param_groups:
            is_bias = group.get('name') == 'bias' and self.warmup_bias_lr is not None
            start = self.warmup_bias_lr if is_bias else self.warmup_start * lr
            group['initial_lr'] = defaults['lr']
            group['lr'] = warmup_value(runner.iter, length, start, lr, self.warmup_power)
            if self.warmup_momentum is None:
                continue
            if defaults.get('momentum'):
                group['momentum'] = self._momentum(runner.iter, length, defaults['momentum'])
            elif 'betas' in defaults:
                group['betas'] = (self._momentum(runner.iter, length, defaults['betas'][0]), *defaults['betas'][1:])

    def _momentum(self, iteration: int, length: int, base: float) -> float:
        return warmup_value(iteration, length, self.warmup_momentum, base, self.warmup_power)
