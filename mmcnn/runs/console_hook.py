"""Shows the progress of a run to the user."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import Runner

from mmcnn.compat import private_names
from mmcnn.console import Console
from mmcnn.console.layout import ALL_COLUMNS, COLUMNS, number, validation
from mmcnn.runs.history_hook import HistoryHook, counts_epochs
from mmcnn.runs.results import by_name

#: In a run with fewer steps, an AP, or a top-1 as a multiple of chance, below these is to be expected.
YOUNG_STEPS, YOUNG_AP, YOUNG_TOP1 = 1000, 0.1, 1.5
#: Iterations over which rate, losses and remaining time are averaged.
WINDOW = 50


class ConsoleHook(Hook):
    """Sends progress and the results of each validation to a console.

    Without a terminal, plain lines are printed every ``interval`` iterations of the ``LoggerHook`` and at the end of
    each epoch. A training that counts iterations is shown by iterations. A training also needs a
    :class:`~mmcnn.runs.history_hook.HistoryHook`, which provides the losses.

    Args:
        console: the console to print on.
        head: returns the labelled rows at the start of the run; called just before the first step.
        notes: lines after these rows.
        from_scratch: whether the run starts from random weights; early results then get a note about what is normal.
    """

    priority = 'LOWEST'  # after all other hooks

    def __init__(
        self,
        console: Console,
        head: Callable[[Runner], Sequence[tuple[str, str]]],
        notes: Sequence[str] = (),
        from_scratch: bool = False,
    ) -> None:
        self.console = console
        self.head = head
        self.notes = notes
        self.from_scratch = from_scratch

    def before_train(self, runner) -> None:
        """Print the head."""
        self._history = next(hook for hook in runner.hooks if isinstance(hook, HistoryHook))
        self._by_epoch = counts_epochs(runner)
        self._begin(runner)

    def before_test(self, runner) -> None:
        """Print the head."""
        self._begin(runner)

    def _begin(self, runner: Runner) -> None:
        self.interval = next((hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)), WINDOW)
        self.console.head(self.head(runner), self.notes)

    def before_train_epoch(self, runner) -> None:
        """Restart the measurement of the rate."""
        self._window: deque[tuple[float, int, dict[str, float]]] = deque(maxlen=WINDOW)
        self._since = time.perf_counter()

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | Sequence | None = None
    ) -> None:
        """Show the step."""
        now = time.perf_counter()
        self._window.append((now - self._since, len(data_batch['data_samples']), self._history.losses))
        self._since = now
        step = batch_idx + 1
        if self._by_epoch:  # the end of an epoch has its own line
            due = step % self.interval == 0 and step < len(runner.train_dataloader)
        else:
            due = step % self.interval == 0 or step == runner.max_iters
        self._show_step(runner, step, _means([each for _, _, each in self._window]), due)

    def after_train_epoch(self, runner) -> None:
        """Show the epoch, with the means over it."""
        if not self._by_epoch:
            return
        steps = len(runner.train_dataloader)
        entry = runner.message_hub.get_info('history')[-1]
        losses = {name: value for name, value in entry.items() if name.startswith('loss')}
        self._show_step(runner, steps, losses, True)

    def after_train(self, runner) -> None:
        """Remove the live line."""
        self.console.end_progress()

    def after_val_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Show the batch."""
        over = (
            f'epoch {runner.epoch}/{runner.max_epochs}'
            if self._by_epoch
            else f'iteration {runner.iter}/{runner.max_iters}'
        )
        self.console.progress(f'{over}  validation  batch {batch_idx + 1}/{len(runner.val_dataloader)}')

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Print a table of the results."""
        title = f'epoch {runner.epoch}' if self._by_epoch else f'iteration {runner.iter}'
        self._show_metrics(title, metrics, COLUMNS)
        if self.from_scratch:
            self.from_scratch = False
            steps = runner.iter // private_names.accumulative_counts(runner.optim_wrapper)
            classes = (runner.val_evaluator.dataset_meta or {}).get('classes', ())
            if note := what_is_normal(steps, by_name(metrics or {})[0], len(classes)):
                self.console.line(note)
        self._since = time.perf_counter()  # a validation is not part of the rate

    def after_test_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Show the batch."""
        step, steps = batch_idx + 1, len(runner.test_dataloader)
        self.console.progress(f'batch {step}/{steps}', due=step % self.interval == 0)

    def after_test_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Print a table of the results."""
        self.console.end_progress()
        self._show_metrics('', metrics, ALL_COLUMNS)

    def _show_metrics(self, title: str, logged: dict[str, float] | None, columns: Sequence[str]) -> None:
        metrics, class_ap = by_name(logged or {})
        if metrics:
            self.console.table(title, validation(metrics, class_ap, columns))

    def _show_step(self, runner: Runner, step: int, losses: dict[str, float], due: bool) -> None:
        seconds = sum(each for each, _, _ in self._window)
        images = sum(each for _, each, _ in self._window) * get_world_size()
        if self._by_epoch:
            steps, epoch = len(runner.train_dataloader), runner.epoch + 1
            words = [f'epoch {epoch}/{runner.max_epochs}', f'step {step}/{steps}']
            left = (runner.max_epochs - epoch) * steps + steps - step
        else:
            words = [f'iteration {step}/{runner.max_iters}']
            left = runner.max_iters - step
        remaining = timedelta(seconds=round(left * seconds / max(len(self._window), 1)))
        parts = ', '.join(
            f'{name.removeprefix("loss_")} {value:.4g}' for name, value in losses.items() if name != 'loss'
        )
        words += [f'{images / seconds:.4g} images/s'] if seconds else []
        words += [f'ETA {remaining}']
        words += [f'loss {losses["loss"]:.4g}' + (f' ({parts})' if parts else '')] if 'loss' in losses else []
        self.console.progress('  '.join(words), due)


def what_is_normal(steps: int, metrics: Mapping[str, float], num_classes: int) -> str | None:
    """Return a note about the first results of a run with random initial weights; None if it is not needed.

    Args:
        steps: number of optimizer steps so far.
        metrics: named as in :class:`~mmcnn.runs.results.EvaluateResult`.
        num_classes: number of classes of the data.
    """
    if steps >= YOUNG_STEPS:
        return None
    begun = f'note: these are the results after {number(steps, "step")} from random weights'
    if 0 <= metrics.get('AP', -1) < YOUNG_AP:
        return (
            f'{begun}: an AP of 0 to 0.1 is normal in the first few hundred, and grows over thousands '
            '(docs/benchmarks.md)'
        )
    chance = 100 / max(num_classes, 1)
    if 0 <= metrics.get('top1', -1) < YOUNG_TOP1 * chance:
        return f'{begun}: a top-1 near {chance:.3g} %, which equals guessing, is normal in the first few hundred'
    return None


def _means(entries: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each loss; entries of skipped batches are empty."""
    entries = [entry for entry in entries if entry]
    return {name: sum(entry[name] for entry in entries) / len(entries) for name in (entries[-1] if entries else {})}
