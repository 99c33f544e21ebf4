"""Training by epochs with the same final weights whether or not it was killed and resumed."""

from __future__ import annotations

import bisect
import errno
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine.dist import barrier, get_rank, get_world_size
from mmengine.hooks import EMAHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import DataLoader

from mmcnn.compat import private_names
from mmcnn.engine.atomic_checkpoint_hook import AtomicCheckpointHook
from mmcnn.engine.data_workers import forget_deaths, guard_workers, worker_death
from mmcnn.engine.random_state import seed_from
from mmcnn.engine.rank_watch import RankWatch
from mmcnn.engine.refusals import Refusals
from mmcnn.engine.seeded_dataset import seeded_loader
from mmcnn.engine.step_guard import StepGuard, on_any_rank
from mmcnn.engine.stop_signals import StopSignals
from mmcnn.errors import CheckpointError, DataError, StoppedError, TrainingError
from mmcnn.registry import LOOPS

ON_NAN = ('stop', 'skip')
#: Seconds that a step may take after a signal, with one rank and with several.
PATIENCE, PATIENCE_OF_RANKS = 30.0, 10.0
#: Seconds that a failing rank has for its message before the others end.
LAST_WORDS = 1.0
#: Error codes of a full disk.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
# Purposes of a seed, in addition to the position in the run; the position of a sample has more numbers.
_EPOCH, _ITERATION, _VALIDATION, _AGAIN = range(4)


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """MMEngine's epoch loop for runs that may be killed at any moment.

    **Resuming.** Samples depend on (seed, epoch, index) (:class:`~.seeded_dataset.SeededDataset`), all other random
    numbers of the process on (seed, iteration, rank): no generator state needs to be stored, and code that runs in
    between does not shift them. A checkpoint from inside an epoch continues with the next batch; one from before its
    epoch's validation validates first. With :class:`~mmcnn.engine.AtomicCheckpointHook`, a resumed run therefore ends
    with the same weights, averages and optimizer state as an uninterrupted one, bit for bit: on the same machine and
    PyTorch, with the same config and numbers of ranks and threads; on a GPU if the algorithms are deterministic
    (``randomness.deterministic``).

    **Signals.** SIGTERM and Ctrl-C end the process with 143 and 130 after the iteration and a checkpoint; in
    validation, after the batch. Several ranks end after the same step: the current or the next one. A process that does
    not get there within 30 s (several ranks: 10 s) is ended anyway. The death of another rank ends this one, too.

    **Faults.** A loss or gradient that is not finite enters no average or checkpoint; its images are reported.

    Args:
        runner (Runner): The runner.
        dataloader (DataLoader | dict): The training data.
        max_epochs (int): Number of epochs.
        on_nan (str): 'stop', or 'skip': drop the batch, restore the buffers (BatchNorm's statistics), and stop only
            after 10 in a row or more than 1 % of the run.
        max_failed (int, optional): Number of files that may fail to load, see ``SeededDataset``.
        until_epoch (int, optional): Epoch after which the run pauses, with a validation and a checkpoint; a resumed run
            continues with the same schedule. None: it does not pause.
        **kwargs: ``val_begin``, ``val_interval``, ``dynamic_intervals`` of MMEngine's loop.

    Raises:
        ValueError: From the constructor, for another ``on_nan``.
        TrainingError: A loss or gradient is not finite, a data-loading process cannot be started or has died, or
            another rank has died.
        DataError: Too many files cannot be loaded.
        CheckpointError: A checkpoint or a log cannot be written.
        SystemExit: After a signal.
    """

    def __init__(
        self,
        runner,
        dataloader: DataLoader | dict,
        max_epochs: int,
        on_nan: str = 'stop',
        max_failed: int | None = None,
        until_epoch: int | None = None,
        **kwargs: Any,
    ) -> None:
        if on_nan not in ON_NAN:
            raise ValueError(f'on_nan={on_nan!r} is unknown; use one of {", ".join(ON_NAN)}')
        super().__init__(runner, dataloader, max_epochs, **kwargs)
        self.on_nan = on_nan
        self.until_epoch = until_epoch
        self.pause: str | None = None  # reason of a pause, as a sentence
        self.dataloader = seeded_loader(self.dataloader, runner.seed, max_failed)
        self._done = 0  # finished batches of this epoch
        self.stepped = True
        self._validating = False

    def run(self) -> torch.nn.Module:
        """Train to the end, or until a signal."""
        runner = self.runner
        forget_deaths()
        runner.call_hook('before_train')
        patience = PATIENCE if get_world_size() == 1 else PATIENCE_OF_RANKS
        self._ranks = RankWatch()
        self._signals = StopSignals(patience, before_end=self._ranks.say_stopped)
        self._take_up()
        with self._signals, self._ranks:
            try:
                self._run()
            except (RuntimeError, DataError, OSError, EOFError) as error:
                self._explain(error)
                raise
            finally:
                self._end_workers()
        runner.call_hook('after_train')
        return runner.model

    def run_epoch(self) -> None:
        """Run the rest of an epoch."""
        seed_from(self.runner.seed, _EPOCH, self._epoch, get_rank())
        self.dataloader.batch_sampler.start(self._epoch, self._done)
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for idx, data_batch in enumerate(self.dataloader, start=self._done):
            self.run_iter(idx, data_batch)
            if idx + 1 < len(self.dataloader):
                self._stop_inside_if_asked()
        self._guard.average()
        self._note_position(0)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None:
        """Process one batch: a step, a part of one, or a rejection."""
        runner, guard = self.runner, self._guard
        seed_from(runner.seed, _ITERATION, self._iter, get_rank())
        runner.call_hook('before_train_iter', batch_idx=idx, data_batch=data_batch)
        self._refusals.before_step(data_batch)
        outputs = runner.model.train_step(data_batch, optim_wrapper=guard)
        outputs = self._refusals.after_step(data_batch, guard.read(outputs))
        self.stepped = guard.stepped
        self._note_position(idx + 1)
        runner.call_hook('after_train_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs)
        self._iter += 1

    def first_batches(self, num_images: int) -> Iterator[Any]:
        """Yield the first batches of a finished epoch once more, with the same samples, up to a total number of images.

        A resumed run that gets here draws the same random numbers.

        Args:
            num_images (int): Minimum number of images; fewer if the epoch has fewer.
        """
        sampler = self.dataloader.batch_sampler
        together = sampler.batches.batch_size * get_world_size()
        count = min(-(-num_images // together), len(self.dataloader))
        seed_from(self.runner.seed, _AGAIN, self._epoch, get_rank())
        sampler.start(self._epoch, 0, count)
        yield from self.dataloader

    def is_result(self, epochs: int) -> bool:
        """Return whether the network after a number of epochs is one that the run is for.

        That is one that is validated, one where the run pauses, or the last one. All others are only continued.
        """
        interval = self.dynamic_intervals[bisect.bisect(self.dynamic_milestones, epochs + 1) - 1]
        validated = self.runner.val_loop is not None and epochs >= max(self.val_begin, 1) and epochs % interval == 0
        return validated or epochs in (self.max_epochs, self.until_epoch)

    # ------------------------------------------------------------------------------------------------- start and end

    def _take_up(self) -> None:
        """Prepare everything for the position at which the run starts or is resumed."""
        runner = self.runner
        model = runner.model
        self._module = model.module if is_model_wrapper(model) else model
        self._guard = StepGuard(runner.optim_wrapper, stop=self.on_nan == 'stop', ask=self._signals.asked)
        self._refusals = Refusals(runner, self._guard)
        # A resumed run has the seed of its checkpoint.
        self.dataloader.dataset.seed = runner.seed
        if hasattr(self.dataloader.batch_sampler.sampler, 'seed'):
            self.dataloader.batch_sampler.sampler.seed = runner.seed
        guard_workers(self.dataloader)
        if runner.val_loop is not None:
            guard_workers(runner.val_dataloader)
        runner.register_hook(_StopInValidation(self))
        # Sizes that are drawn for several iterations at once, and are in no state dict.
        self._resizing = private_names.resizing_modules(self._module)
        done, size, sizes = runner.message_hub.get_info('position_in_epoch', (0, 0, []))
        if done and size != len(self.dataloader):
            runner.logger.warning(
                f'the checkpoint is of batch {done} of {size}, but an epoch now has {len(self.dataloader)} batches: '
                f'epoch {self._epoch + 1} is started again'
            )
            done = 0
        self._done = done
        for module, input_size in zip(self._resizing, sizes, strict=False):
            private_names.set_input_size(module, input_size and tuple(input_size))

    def _run(self) -> None:
        if self._done == 0 and self.runner.message_hub.get_info('epoch_validated') != self._epoch:
            self._decide_current_val_interval()
            self._validate()  # the run was killed before this validation
        self._pause_if_due()
        while self._epoch < self.max_epochs and not self.stop_training:
            self.run_epoch()
            self._done = 0
            self._stop_if_asked()
            self._decide_current_val_interval()
            self._validate()
            self._pause_if_due()

    def _validate(self) -> None:
        """Run the validation of finished epochs if one is due."""
        # A paused run should report its metrics at that point.
        if self.runner.val_loop is None or self._epoch < max(self.val_begin, 1) or not self.is_result(self._epoch):
            return
        seed_from(self.runner.seed, _VALIDATION, self._epoch, get_rank())
        self.runner.val_loop.run()
        self._stop_if_asked()

    def _note_position(self, done: int) -> None:
        """Store the number of finished batches of this epoch for checkpoints."""
        sizes = [private_names.input_size(module) for module in self._resizing]
        self.runner.message_hub.update_info('position_in_epoch', (done, len(self.dataloader), sizes))

    def _pause_if_due(self) -> None:
        """End the training after ``until_epoch``, with a checkpoint to resume from."""
        if self.until_epoch is None or self._epoch < self.until_epoch or self._epoch >= self.max_epochs:
            return
        if self._checkpoint_hook is not None:
            self._checkpoint_hook.save_stopped(self.runner, self._epoch, self._iter)
        self.stop_training = True
        self.pause = f'paused by until_epoch={self.until_epoch}; to train the rest, resume without it'

    # ------------------------------------------------------------------------------------------------------- signals

    def _stop_if_asked(self) -> None:
        """End the process between epochs, with a checkpoint, if any rank has received a signal."""
        if on_any_rank(self._signals.asked()):
            self._stop()

    def _stop_inside_if_asked(self) -> None:
        """Do the same within an epoch; the guard's message informs the ranks, without another exchange."""
        asked = self._signals.asked()
        if get_world_size() > 1:
            # Accumulated gradients belong to each rank's own images; a checkpoint holds those of one rank.
            asked = self._guard.told and self.runner.optim_wrapper.should_update()
        if asked:
            self._stop()

    def _stop(self) -> None:
        runner = self.runner
        signum = self._signals.signum or signal.SIGTERM
        with self._signals.busy():
            if not self._validating:  # a single rank may leave a validation
                runner.call_hook('before_stop')
            hook = self._checkpoint_hook
            if hook is not None:
                hook.save_stopped(runner, self._epoch, self._iter)
            story = f'stopped by {signal.Signals(signum).name}; {self._what_is_left()}; to continue, resume the run'
            runner.logger.info(story)
            if get_world_size() > 1 and not self._validating:
                barrier()  # a launcher ends all processes when the first one ends
        raise SystemExit(128 + signum) from StoppedError(story, signum)

    @property
    def _checkpoint_hook(self) -> AtomicCheckpointHook | None:
        return next((hook for hook in self.runner.hooks if isinstance(hook, AtomicCheckpointHook)), None)

    def _what_is_left(self) -> str:
        hook = self._checkpoint_hook
        return (
            'no checkpoint was written, because there is no AtomicCheckpointHook'
            if hook is None
            else hook.what_is_left()
        )

    def stop_validation_if_asked(self) -> None:
        """Stop between two batches of a validation, during which the model has the averaged weights."""
        if not self._signals.asked():
            return
        for hook in self.runner.hooks:
            if isinstance(hook, EMAHook):
                hook.after_val_epoch(self.runner)  # restores the trained weights
        self._validating = True
        self._stop()

    @property
    def _loaders(self) -> list[DataLoader]:
        return [self.dataloader] + ([] if self.runner.val_loop is None else [self.runner.val_dataloader])

    def _end_workers(self) -> None:
        """End data-loading processes that outlive an epoch; garbage collection would wait 5 s for each."""
        for loader in self._loaders:
            private_names.end_workers(loader)

    # -------------------------------------------------------------------------------------------------------- faults

    def _explain(self, error: Exception) -> None:
        """Raise the cause of an error as one sentence, if it is known."""
        if isinstance(error, DataError):
            # PyTorch puts the traceback of the worker first.
            raise DataError(str(error).strip().rpartition(f'{DataError.__module__}.DataError: ')[2]) from error
        if isinstance(error, TrainingError):
            return
        if death := worker_death(error):
            raise TrainingError(death) from error
        if isinstance(error, OSError):
            # For example a log or an event file: the checkpoint hook explains its own errors.
            work_dir = self.runner.work_dir
            if error.errno in FULL or str(error.filename or '').startswith(work_dir):
                where = error.filename or work_dir
                raise CheckpointError(f'cannot write {where}: {error.strerror}; {self._what_is_left()}') from error
            return
        if cause := self._ranks.wait_for_cause(5.0):
            if self._ranks.stopped:  # during a validation
                raise SystemExit(128 + (self._signals.signum or signal.SIGTERM)) from error
            # A launcher ends the other rank once this one has ended; give it time to report its error first.
            time.sleep(LAST_WORDS)
            raise TrainingError(cause) from error


class _StopInValidation(Hook):
    """Lets a signal end a validation between two batches; remembers which epoch has been validated."""

    # Before the checkpoint hook, which stores the epoch.
    priority = 'LOW'

    def __init__(self, loop: ResumableTrainLoop) -> None:
        self.loop = loop

    def after_val_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.loop.stop_validation_if_asked()

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        runner.message_hub.update_info('epoch_validated', runner.epoch)
