"""BatchNorm's statistics of a run that has only begun, measured anew before they are saved."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import EMAHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from mmcnn.compat import private_names
from mmcnn.engine.resumable_train_loop import ResumableTrainLoop
from mmcnn.registry import HOOKS


@HOOKS.register_module()
class BNStatisticsHook(Hook):
    """Measures BatchNorm's mean and variance anew at the end of each epoch of a young run.

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

    def after_train_epoch(self, runner) -> None:
        """Measures, if the run is young."""
        if not isinstance(runner.train_loop, ResumableTrainLoop):
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        layers = [layer for layer in model.modules() if self._is_young(layer, runner.iter)]
        if layers:
            with averaged_weights(runner):
                _measure(runner, model, layers, self.num_images)

    def _is_young(self, layer: nn.Module, iterations: int) -> bool:
        """A BatchNorm that is trained (a frozen one is in evaluation mode) and whose average lags behind."""
        return (
            isinstance(layer, private_names.BatchNorm)
            and layer.training
            and layer.track_running_stats
            and layer.momentum is not None
            and iterations * layer.momentum < self.windows
        )


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
    """Sets the running statistics of layers to the means over the epoch's first batches."""
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
