"""``weights`` and ``recipe``: training that starts from pretrained weights."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import OPTIMIZERS, DefaultScope
from mmengine.runner import Runner

from mmcnn.config.load import Say, dicts_in
from mmcnn.config.model import class_layers
from mmcnn.errors import CheckpointError, UsageError
from mmcnn.runs.head import shown_path, unwrapped
from mmcnn.runs.options import FROM_SCRATCH, WARM_START
from mmcnn.weights.addresses import fetch, is_address, resolve
from mmcnn.weights.checkpoint import Checkpoint
from mmcnn.weights.loading import load_weights
from mmcnn.weights.names import CLASS_LAYERS
from mmcnn.weights.report import LoadReport

#: Factor on the learning rate of the warm-start recipe.
WARM_RATE = 0.25
#: Maximum of its warm-up: trained weights need no slow start, only the optimizer's moments are new.
WARM_UP = dict(warmup_epochs=1.0, warmup_min_iters=100, warmup_max_fraction=0.1)
#: Entry of the recipe in a config.
RECIPE_ENTRIES = ('optim_wrapper.', 'custom_hooks.')
_SHOWN = 3  # number of classes in a sentence


def check_weights(cfg: Config, weights: str | Path) -> Checkpoint | None:
    """Open the weights of a fine-tuning before the run starts, and drop the config's own backbone weights.

    Args:
        cfg: changed in place.
        weights: a path or an address.

    Returns:
        the opened file; None: it is still to be downloaded.

    Raises:
        CheckpointError: the file is missing, broken or unsafe, or no weights have this name.
        UsageError: the config also starts from other weights.
    """
    if cfg.get('resume') or cfg.get('load_from'):
        other = 'resume=True' if cfg.get('resume') else f'load_from={cfg.load_from}'
        raise UsageError(f'weights={weights} and {other} in the config both set the initial weights: use one of them')
    for node in dicts_in(cfg.model):
        if (node.get('init_cfg') or {}).get('type') == 'Pretrained':
            node['init_cfg'] = None  # the file includes the backbone
    if is_address(str(weights)):
        resolve(str(weights))
        return None
    checkpoint = Checkpoint.open(weights)
    checkpoint.state_dict  # noqa: B018  raises an error if they cannot be read
    return checkpoint


def set_recipe(cfg: Config, recipe: str | None, say: Say) -> None:
    """Set the warm-start recipe: a lower learning rate and a short warm-up, for a network with trained weights.

    The config's other entries (schedule, length, augmentation) stay. The run records the recipe in its config, so that
    it also applies when the run is continued. The config of such a run already has the recipe.

    Args:
        cfg: with the learning rate for training from scratch; changed in place.
        recipe: one of :data:`~mmcnn.runs.options.RECIPES`; None is the config's own.
        say: called with a sentence about the changes.

    Raises:
        UsageError: the optimizer has no learning rate.
    """
    if cfg.get('recipe') == WARM_START and recipe is not None:
        meant = 'recipe=from-scratch does not undo it' if recipe == FROM_SCRATCH else 'it is not applied a second time'
        say(f'note: the config already has the recipe warm-start: {meant}')
        return
    if recipe != WARM_START:
        return
    cfg.recipe = recipe
    optimizer = cfg.optim_wrapper.get('optimizer')
    rate = _learning_rate(optimizer)
    changes = [f'learning rate {rate * WARM_RATE:.3g} instead of {rate:.3g}']
    optimizer['lr'] = rate * WARM_RATE
    for hook in cfg.get('custom_hooks') or []:
        if hook.get('type') != 'mmcnn.ScheduleHook':
            continue
        for name, most in WARM_UP.items():
            hook[name] = min(hook.get(name, most), most)
        changes.append('a warm-up of at most a tenth of the run')
        if hook.get('warmup_bias_lr', 0.1) is not None:
            # High initial rates quickly adapt the biases of a new network; they would destroy trained ones.
            hook['warmup_bias_lr'] = None
            changes.append('the same learning rate for biases')
    say(f'note: recipe warm-start: {", ".join(changes)}')


def _learning_rate(optimizer: Any) -> float:
    """Return the learning rate of a config's optimizer; if the config has none, the optimizer's default."""
    rate = optimizer.get('lr', _default_rate(optimizer.get('type'))) if isinstance(optimizer, dict) else None
    if isinstance(rate, Real) and not isinstance(rate, bool):
        return rate
    found = f'optim_wrapper.optimizer={optimizer!r}' if rate is None else f'optim_wrapper.optimizer.lr={rate!r}'
    raise UsageError(
        f'the recipe warm-start lowers the learning rate, but {found} has no number for it: set '
        'optim_wrapper.optimizer.lr, or use recipe=from-scratch'
    )


def _default_rate(kind: Any) -> Any:
    """Return the default learning rate of an optimizer."""
    with contextlib.suppress(KeyError, TypeError, ValueError), DefaultScope.overwrite_default_scope('mmengine'):
        kind = OPTIMIZERS.get(kind) if isinstance(kind, str) else kind
        return inspect.signature(kind).parameters['lr'].default
    return None


class FineTuningHook(Hook):
    """Loads weights just before the first step; the head only if it has the same classes.

    Args:
        weights: the opened file, or an address.

    Attributes:
        story: a sentence about the loaded weights, once they are loaded.
    """

    def __init__(self, weights: Checkpoint | str) -> None:
        self.weights = weights
        self.story = ''

    def before_train(self, runner: Runner) -> None:
        """Raise CheckpointError if the weights cannot be downloaded, or do not fit the model at all."""
        classes = runner.train_dataloader.dataset.metainfo.get('classes', ())
        classes = (classes,) if isinstance(classes, str) else tuple(classes)
        weights = self.weights
        file = weights if isinstance(weights, Checkpoint) else Checkpoint.open(fetch(weights).path)
        layers = class_layers(runner.cfg)
        report, head = load_for_classes(unwrapped(runner.model), weights, file.classes, classes, layers)
        name = shown_path(weights.path) if isinstance(weights, Checkpoint) else weights
        file.release()
        print_log(f'{name}: {head}; {report}', logger='current')
        self.story = f'{name}: {head}; {report}'


def load_for_classes(
    model,
    weights: Checkpoint | str,
    theirs: Sequence[str],
    classes: Sequence[str],
    layers: tuple[str, ...] = CLASS_LAYERS,
) -> tuple[LoadReport, str]:
    """Load weights into a model, including the head only if its classes are the same.

    Args:
        model: keeps its values if the weights do not fit.
        weights: an opened file, or an address.
        theirs: classes of the weights; empty if unknown.
        classes: classes of the model.
        layers: layers of the model that depend on the number of classes, see :func:`~mmcnn.config.model.class_layers`.

    Returns:
        a report on every entry, and a sentence about the head.

    Raises:
        CheckpointError: they do not fit at all, or the head would have to be new and is unknown.
    """
    if theirs and tuple(theirs) != tuple(classes):
        report = load_weights(model, weights, drop_head=True, class_layers=layers)
        return report, f'the head is newly initialised: the file has {_in_words(theirs)}, the data {_in_words(classes)}'
    try:
        report = load_weights(model, weights)
    except CheckpointError as misfit:
        report = load_weights(model, weights, drop_head=True, class_layers=layers)
        reason = str(misfit).removeprefix(f'{getattr(weights, "path", weights)} ')
        return report, f"the head is newly initialised: the file's {reason}"
    if report.absent:
        return report, 'the file ends before the head'
    if theirs:
        return report, 'the head is kept, because its classes are the same'
    return report, f'the head is kept: like the data, it has {len(classes)} classes, which the file does not name'


def _in_words(classes: Sequence[str]) -> str:
    more = ', ...' if len(classes) > _SHOWN else ''
    return f'{len(classes)} classes ({", ".join(classes[:_SHOWN])}{more})'
