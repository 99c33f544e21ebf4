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

#: Where a checkpoint from inside an epoch keeps the statistics of each rank.
_OF_RANKS = 'bn_statistics_of_ranks'


@HOOKS.register_module()
class BNStatisticsHook(Hook):
    """Prepares BatchNorm's mean and variance for validation and saving, at the end of each epoch.

    **Several ranks.** Each normalises by its own images and keeps running statistics of these, so that ranks would
    validate with different networks, and the checkpoint would hold the statistics of the first one alone. They become
    the mean over the ranks, of the averaged weights too. Nothing in the training depends on them. A run that is stopped
    inside an epoch keeps those of each rank in its checkpoint, so that it ends, resumed, where it would have. Where
    checkpoints come every so many iterations the mean is taken before each of them, too. (SyncBN, the other cure,
    changes the training: ``mmcnn train --sync-bn``.)

    **A young run** is measured anew.
    With a momentum m a layer's running statistics are an average over about the last 1 / m iterations: 33 with the 0.03
    of the YOLO recipes, 1,000 with the 0.001 of Keras's MobileNetV2. In a young run the weights have changed much over
    so many, and what is validated and saved would normalise by statistics of networks that are long gone: a detector of
    57 iterations then finds 300 boxes of score 1 in every image. So a layer is measured while the run is shorter than
    ``windows`` times 1 / m iterations; after that, and so in long runs, its statistics are the running ones. The first
    images of the epoch go through the network once more, as they were trained on, and each layer's statistics become
    the mean over those batches: of the averaged weights, if there are any, for they are what is validated and saved.

    It costs a forward pass of ``num_images`` images an epoch: 7 % of an epoch of 300 images, 0.1 % of one of 20,000.
    The weights and losses of the training are those without the hook. A run that is killed and resumed measures the
    same. With another loop than :class:`ResumableTrainLoop`, which can give the batches again, nothing is measured.

    Source: Wu and Johnson, "Rethinking 'Batch' in BatchNorm" (arXiv 2105.07576), section 3, there of all training.

    Args:
        num_images (int): Images to measure on, on all ranks together.
        windows (float): How many times 1 / m iterations a run is young. 0 measures never.

    Raises:
        ValueError: From the constructor, if an argument is out of range.
    """

    # Before the hook that saves the epoch's checkpoint.
    priority = 'HIGH'

    def __init__(self, num_images: int = 64, windows: float = 30.0) -> None:
        if num_images < 1:
            raise ValueError(f'num_images={num_images} has to be at least 1')
        if not windows >= 0:
            raise ValueError(f'windows={windows} must not be negative')
        self.num_images = num_images
        self.windows = windows
        self._by_iteration = False

    def before_train(self, runner) -> None:
        """Give each rank of a run that was stopped inside an epoch its own statistics back."""
        self._by_iteration = isinstance(runner.train_loop, IterBasedTrainLoop)
        kept = runner.message_hub.pop_info(_OF_RANKS, [])
        if len(kept) == get_world_size() > 1:
            runner.model.train()  # norm_eval takes effect in it, and frozen layers were not kept
            for statistics, context in zip(kept[get_rank()], _networks(runner), strict=False):
                with context as model:
                    _put(_trained(model), statistics)

    def before_stop(self, runner) -> None:
        """Keep the statistics of each rank for the checkpoint, where a run ends inside an epoch."""
        inside = runner.message_hub.get_info('position_in_epoch', (0,))[0]
        if get_world_size() > 1 and inside and _trained(_unwrapped(runner)):
            own = []
            for context in _networks(runner):
                with context as model:
                    own.append(_taken(_trained(model)).cpu())
            runner.message_hub.update_info(_OF_RANKS, all_gather_object(own))

    def before_val_epoch(self, runner) -> None:
        """Take the mean over the ranks where validations come inside of an epoch."""
        if self._by_iteration:
            self._average(runner)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Take the mean over the ranks before a checkpoint of this iteration, which the first rank alone writes."""
        if get_world_size() > 1 and any(_saves_now(hook, runner) for hook in runner.hooks):
            self._average(runner)

    def after_train_epoch(self, runner) -> None:
        """Take the mean over the ranks, and measure if the run is young."""
        self._average(runner)
        if not isinstance(runner.train_loop, ResumableTrainLoop):
            return
        model = _unwrapped(runner)
        layers = [layer for layer in model.modules() if self._is_young(layer, runner.iter)]
        if layers:
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
        """Return a BatchNorm that is trained (a frozen one is in evaluation mode) and whose average lags behind."""
        return (
            isinstance(layer, private_names.BatchNorm)
            and layer.training
            and layer.track_running_stats
            and layer.momentum is not None
            and iterations * layer.momentum < self.windows
        )


def _saves_now(hook: Hook, runner: Runner) -> bool:
    """Return whether it is a hook that writes a checkpoint after this iteration."""
    return (
        isinstance(hook, CheckpointHook)
        and not hook.by_epoch
        and (
            hook.every_n_train_iters(runner, hook.interval, hook.save_begin)
            or (hook.save_last and hook.is_last_train_iter(runner))
        )
    )


def _unwrapped(runner: Runner) -> nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _networks(runner: Runner) -> list[contextlib.AbstractContextManager[nn.Module]]:
    """Return contexts that give the model with its trained weights and, if there are any, with the averaged ones."""
    model = _unwrapped(runner)

    @contextlib.contextmanager
    def averaged() -> Iterator[nn.Module]:
        with averaged_weights(runner):
            yield model

    has_average = any(isinstance(hook, EMAHook) for hook in runner.hooks)
    return [contextlib.nullcontext(model), *([averaged()] if has_average else [])]


def _trained(model: nn.Module) -> list[nn.Module]:
    """Return the BatchNorms whose running statistics are each rank's own; those of SyncBN are of all."""
    return [
        layer
        for layer in model.modules()
        if isinstance(layer, private_names.BatchNorm)
        and not isinstance(layer, nn.SyncBatchNorm)
        and layer.training
        and layer.running_mean is not None
    ]


def _taken(layers: Sequence[nn.Module]) -> Tensor:
    """Means and variances in one row, for one message."""
    return torch.cat([each.float() for layer in layers for each in (layer.running_mean, layer.running_var)])


def _put(layers: Sequence[nn.Module], statistics: Tensor) -> None:
    """Set what :func:`_taken` has given."""
    buffers = [each for layer in layers for each in (layer.running_mean, layer.running_var)]
    for buffer, values in zip(buffers, statistics.split([len(each) for each in buffers]), strict=True):
        buffer.copy_(values)


@contextlib.contextmanager
def averaged_weights(runner: Runner) -> Iterator[None]:
    """In the model are the averaged weights, if there are any, with buffers of their own."""
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
    """Set the running statistics of layers to the means over the epoch's first batches."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    resizing = private_names.resizing_modules(model)
    sizes = [private_names.input_size(module) for module in resizing]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the mean over all batches from here on
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
            buffer.copy_(buffers[name])  # counts, and the statistics of layers that are not young
