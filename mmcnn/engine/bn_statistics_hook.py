"""BatchNorm statistics before validation and saving: averaged over ranks, and re-estimated early in a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from mmengine.dist import all_gather_object, all_reduce, get_rank, get_world_size
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import Tensor, nn

from mmcnn.compat import private_names
from mmcnn.engine.resumable_train_loop import ResumableTrainLoop
from mmcnn.registry import HOOKS

#: Key of the statistics of each rank in a checkpoint from inside an epoch.
_OF_RANKS = 'bn_statistics_of_ranks'


@HOOKS.register_module()
class BNStatisticsHook(Hook):
    """Prepares BatchNorm's mean and variance for validation and saving, at the end of each epoch.

    **Several ranks.** Each rank normalises its own images and keeps running statistics of these, so that ranks would
    validate different networks, and the checkpoint would have the statistics of the first one alone. They are replaced
    by their mean over the ranks, also those of the averaged weights. The training does not depend on them. A run that
    is stopped inside an epoch stores the statistics of each rank in its checkpoint, so that the resumed run ends with
    the same result. If checkpoints are written every so many iterations, the mean is also taken before each of them.
    (SyncBN, the alternative, changes the training: ``mmcnn train --sync-bn``.)

    **Early in a run, statistics are measured again.**
    With a momentum m, a layer's running statistics are an average over about the last 1 / m iterations: 33 with the
    0.03 of the YOLO recipes, 1,000 with the 0.001 of Keras's MobileNetV2. Early in a run, the weights change much
    during that time, and the saved network would be normalised by outdated statistics: a detector after 57 iterations
    then finds 300 boxes with a score of 1 in every image. Therefore a layer is measured while the run is shorter than
    ``windows`` times 1 / m iterations; later it keeps its running statistics. The first images of the epoch pass
    through the network once more, with the same augmentation, and each layer's statistics become the mean over these
    batches: for the averaged weights if there are any, because these are validated and saved.

    It costs a forward pass of ``num_images`` images: 7 % of an epoch of 300 images, 0.1 % of one of 20,000. It is
    therefore only done where the network is used: after epochs with a validation, the last one, where the run pauses,
    and where a checkpoint is written that later ones do not replace. A checkpoint after another epoch is for resuming.
    The last epoch in which a layer can be measured is always measured, because the running statistics continue from
    there: the result of a run does not depend on where it was validated or paused before.
    The weights and losses of the training do not change. A run that is killed and resumed measures the same statistics.
    With a loop other than :class:`ResumableTrainLoop`, which can repeat the batches, nothing is measured.

    Source: Wu and Johnson, "Rethinking 'Batch' in BatchNorm" (arXiv 2105.07576), section 3, which does so throughout.

    Args:
        num_images (int): Number of images to measure on, over all ranks.
        windows (float): A layer is measured during this many times 1 / m iterations; 0: never.

    Raises:
        ValueError: From the constructor, if an argument is out of range.
    """

    # Before the hook that saves the epoch's checkpoint.
    priority = 'HIGH'

    def __init__(self, num_images: int = 64, windows: float = 30.0) -> None:
        if num_images < 1:
            raise ValueError(f'num_images={num_images}: it must be at least 1')
        if not windows >= 0:
            raise ValueError(f'windows={windows}: it must not be negative')
        self.num_images = num_images
        self.windows = windows
        self._by_iteration = False

    def before_train(self, runner) -> None:
        """Restore each rank's own statistics in a run that was stopped inside an epoch."""
        self._by_iteration = isinstance(runner.train_loop, IterBasedTrainLoop)
        kept = runner.message_hub.pop_info(_OF_RANKS, [])
        if len(kept) == get_world_size() > 1:
            runner.model.train()  # applies norm_eval; frozen layers are not in the checkpoint
            for statistics, context in zip(kept[get_rank()], _networks(runner), strict=False):
                with context as model:
                    _put(_trained(model), statistics)

    def before_stop(self, runner) -> None:
        """Store the statistics of each rank in the checkpoint of a run that is stopped inside an epoch."""
        inside = runner.message_hub.get_info('position_in_epoch', (0,))[0]
        if get_world_size() > 1 and inside and _trained(_unwrapped(runner)):
            own = []
            for context in _networks(runner):
                with context as model:
                    own.append(_taken(_trained(model)).cpu())
            runner.message_hub.update_info(_OF_RANKS, all_gather_object(own))

    def before_val_epoch(self, runner) -> None:
        """Take the mean over the ranks if the validation is inside an epoch."""
        if self._by_iteration:
            self._average(runner)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Take the mean over the ranks before a checkpoint of this iteration, which only the first rank writes."""
        if get_world_size() > 1 and any(_saves_now(hook, runner) for hook in runner.hooks):
            self._average(runner)

    def after_train_epoch(self, runner) -> None:
        """Take the mean over the ranks, and measure statistics early in a run."""
        self._average(runner)
        if not isinstance(runner.train_loop, ResumableTrainLoop):
            return
        model = _unwrapped(runner)
        layers = [layer for layer in model.modules() if self._is_young(layer, runner.iter)]
        after_next = runner.iter + len(runner.train_dataloader)
        if any(_is_used(runner) or not self._is_young(layer, after_next) for layer in layers):
            with averaged_weights(runner):
                _measure(runner, model, layers, self.num_images)

    def _average(self, runner: Runner) -> None:
        if get_world_size() == 1:
            return
        for context in _networks(runner):
            with context as model:
                if layers := _trained(model):
                    statistics = _taken(layers)
                    all_reduce(statistics, 'mean')
                    _put(layers, statistics)

    def _is_young(self, layer: nn.Module, iterations: int) -> bool:
        """Return whether a BatchNorm is trained (a frozen one is in evaluation mode) and its average is outdated."""
        return (
            isinstance(layer, private_names.BatchNorm)
            and layer.training
            and layer.track_running_stats
            and layer.momentum is not None
            and iterations * layer.momentum < self.windows
        )


def _saves_now(hook: Hook, runner: Runner) -> bool:
    """Return whether a hook writes a checkpoint after this iteration."""
    return (
        isinstance(hook, CheckpointHook)
        and not hook.by_epoch
        and (
            hook.every_n_train_iters(runner, hook.interval, hook.save_begin)
            or (hook.save_last and hook.is_last_train_iter(runner))
        )
    )


def _is_used(runner: Runner) -> bool:
    """Return whether the network after this epoch is a result, or is kept in a file; others are only continued."""
    return runner.train_loop.is_result(runner.epoch + 1) or any(_keeps(hook, runner) for hook in runner.hooks)


def _keeps(hook: Hook, runner: Runner) -> bool:
    """Return whether a hook writes a checkpoint after this epoch that the next epochs do not replace."""
    return (
        isinstance(hook, CheckpointHook)
        and hook.by_epoch
        and (hook.interval > 1 or hook.max_keep_ckpts < 0)
        and hook.every_n_epochs(runner, hook.interval, hook.save_begin)
    )


def _unwrapped(runner: Runner) -> nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _networks(runner: Runner) -> list[contextlib.AbstractContextManager[nn.Module]]:
    """Return contexts that yield the model with its trained weights and, if there are any, with the averaged ones."""
    model = _unwrapped(runner)

    @contextlib.contextmanager
    def averaged() -> Iterator[nn.Module]:
        with averaged_weights(runner):
            yield model

    has_average = any(isinstance(hook, EMAHook) for hook in runner.hooks)
    return [contextlib.nullcontext(model), *([averaged()] if has_average else [])]


def _trained(model: nn.Module) -> list[nn.Module]:
    """Return the BatchNorms with running statistics of each rank's own; SyncBN shares them between ranks."""
    return [
        layer
        for layer in model.modules()
        if isinstance(layer, private_names.BatchNorm)
        and not isinstance(layer, nn.SyncBatchNorm)
        and layer.training
        and layer.running_mean is not None
    ]


def _taken(layers: Sequence[nn.Module]) -> Tensor:
    """Return means and variances in one row, for a single message."""
    return torch.cat([each.float() for layer in layers for each in (layer.running_mean, layer.running_var)])


def _put(layers: Sequence[nn.Module], statistics: Tensor) -> None:
    """Set the statistics that :func:`_taken` has returned."""
    buffers = [each for layer in layers for each in (layer.running_mean, layer.running_var)]
    for buffer, values in zip(buffers, statistics.split([len(each) for each in buffers]), strict=True):
        buffer.copy_(values)


@contextlib.contextmanager
def averaged_weights(runner: Runner) -> Iterator[None]:
    """Use the averaged weights in the model, if there are any, with separate buffers."""
    hooks = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
    for hook in hooks:
        hook.before_val_epoch(runner)
    try:
        yield
    finally:
        for hook in reversed(hooks):
            hook.after_val_epoch(runner)


@torch.no_grad()
def _measure(runner: Runner, model: nn.Module, layers: Sequence[nn.Module], num_images: int) -> None:
    """Set the running statistics of layers to their means over the epoch's first batches."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    resizing = private_names.resizing_modules(model)
    sizes = [private_names.input_size(module) for module in resizing]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # from now on, the mean over all batches
    for batch in runner.train_loop.first_batches(num_images):
        with runner.optim_wrapper.optim_context(model):
            data = model.data_preprocessor(batch, True)
            model(**data, mode='loss') if isinstance(data, dict) else model(*data, mode='loss')
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    for module, size in zip(resizing, sizes, strict=True):
        private_names.set_input_size(module, size)
    measured = {id(each) for layer in layers for each in (layer.running_mean, layer.running_var)}
    for name, buffer in model.named_buffers():
        if id(buffer) in measured:
            all_reduce(buffer, 'mean')
        if id(buffer) not in measured or not buffer.isfinite().all():
            buffer.copy_(buffers[name])  # counters, and the statistics of layers that are not measured
