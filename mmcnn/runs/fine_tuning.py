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
#: What its warm-up is at most: weights that are good already need no slow beginning, only new moments of the optimizer.
WARM_UP = dict(warmup_epochs=1.0, warmup_min_iters=100, warmup_max_fraction=0.1)
#: Where the recipe stands in a config.
RECIPE_ENTRIES = ('optim_wrapper.', 'custom_hooks.')
_SHOWN = 3  # classes in a sentence


def check_weights(cfg: Config, weights: str | Path) -> Checkpoint | None:
    """Look into the weights of a fine-tuning before any work is lost, and drop the config's own for the backbone.

    Args:
        cfg: changed in place.
        weights: a path or an address.

    Returns:
        the file, opened; None: it is still to be downloaded.

    Raises:
        CheckpointError: the file is missing, broken or unsafe, or no weights have this name.
        UsageError: the config starts from other weights, too.
    """
    if cfg.get('resume') or cfg.get('load_from'):
        other = 'resume=True' if cfg.get('resume') else f'load_from={cfg.load_from}'
        raise UsageError(f'weights={weights} and the config with {other}: a training starts from one of them')
    for node in dicts_in(cfg.model):
        if (node.get('init_cfg') or {}).get('type') == 'Pretrained':
            node['init_cfg'] = None  # the file has the backbone, too
    if is_address(str(weights)):
        resolve(str(weights))
        return None
    checkpoint = Checkpoint.open(weights)
    checkpoint.state_dict  # noqa: B018  raises for what cannot be read
    return checkpoint


def set_recipe(cfg: Config, recipe: str | None, say: Say) -> None:
    """Set the warm-start recipe: a lower learning rate and a short warm-up, for a network with trained weights.

    The config's other entries (schedule, length, augmentation) stay. The run records the recipe in its config, so that
    it is the same when the run is continued. A config that such a run has left has the recipe already.

    Args:
        cfg: changed in place; with the rate that it would have from scratch.
        recipe: one of :data:`~mmcnn.runs.options.RECIPES`; None is the config's own.
        say: takes a sentence about what is changed.

    Raises:
        UsageError: the optimizer has no learning rate that could be lowered.
    """
    if cfg.get('recipe') == WARM_START and recipe is not None:
        meant = 'recipe=from-scratch does not undo it' if recipe == FROM_SCRATCH else 'it is not applied a second time'
        say(f'note: the config is that of a run with the recipe warm-start: {meant}')
        return
    if recipe != WARM_START:
        return
    cfg.recipe = recipe
    optimizer = cfg.optim_wrapper.get('optimizer')
    rate = _learning_rate(optimizer)
    changes = [f'learning rate {rate * WARM_RATE:.3g} in place of {rate:.3g}']
    optimizer['lr'] = rate * WARM_RATE
    for hook in cfg.get('custom_hooks') or []:
        if hook.get('type') != 'mmcnn.ScheduleHook':
            continue
        for name, most in WARM_UP.items():
            hook[name] = min(hook.get(name, most), most)
        changes.append('a warm-up of a tenth of the run at most')
        if hook.get('warmup_bias_lr', 0.1) is not None:
            # High rates of the biases bring a new network's to where they belong; here they would be lost by it.
            hook['warmup_bias_lr'] = None
            changes.append('biases at the rate of the others')
    say(f'note: recipe warm-start: {", ".join(changes)}')


def _learning_rate(optimizer: Any) -> float:
    """Return the rate of a config's optimizer; where the config has none, the optimizer's own default."""
    rate = optimizer.get('lr', _default_rate(optimizer.get('type'))) if isinstance(optimizer, dict) else None
    if isinstance(rate, Real) and not isinstance(rate, bool):
        return rate
    found = f'optim_wrapper.optimizer={optimizer!r}' if rate is None else f'optim_wrapper.optimizer.lr={rate!r}'
    raise UsageError(
        f'the recipe warm-start lowers the learning rate, and {found} has no number for it: give '
        'optim_wrapper.optimizer.lr, or say recipe=from-scratch'
    )


def _default_rate(kind: Any) -> Any:
    """Return the learning rate that an optimizer has if it is told none."""
    with contextlib.suppress(KeyError, TypeError, ValueError), DefaultScope.overwrite_default_scope('mmengine'):
        kind = OPTIMIZERS.get(kind) if isinstance(kind, str) else kind
        return inspect.signature(kind).parameters['lr'].default
    return None


class FineTuningHook(Hook):
    """Loads weights just before the first step; the head only if it has the same classes.

    Args:
        weights: the file, opened, or an address.

    Attributes:
        story: what became of the weights, once they are loaded.
    """

    def __init__(self, weights: Checkpoint | str) -> None:
        self.weights = weights
        self.story = ''

    def before_train(self, runner: Runner) -> None:
        """Raise CheckpointError: the weights cannot be downloaded, or fit the model in no way."""
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
    """Load weights into a model for some classes, the head only where it is for the same.

    Args:
        model: keeps its values when the weights do not fit.
        weights: a file, opened, or an address.
        theirs: classes of the weights; empty: not known.
        classes: of the model.
        layers: of the model that follow the number of classes, see :func:`~mmcnn.config.model.class_layers`.

    Returns:
        what became of every entry, and a sentence about the head.

    Raises:
        CheckpointError: they fit in no way, or the head would have to start anew and is not known.
    """
    if theirs and tuple(theirs) != tuple(classes):
        report = load_weights(model, weights, drop_head=True, class_layers=layers)
        return report, f'the head starts anew, the file is for {_in_words(theirs)}, the data for {_in_words(classes)}'
    try:
        report = load_weights(model, weights)
    except CheckpointError as misfit:
        report = load_weights(model, weights, drop_head=True, class_layers=layers)
        reason = str(misfit).removeprefix(f'{getattr(weights, "path", weights)} ')
        return report, f"the head starts anew, the file's {reason}"
    if report.absent:
        return report, 'the file ends before the head'
    if theirs:
        return report, 'the head is kept, its classes are the same'
    return report, f'the head is kept, it is for {len(classes)} classes as the data; the file does not say for which'


def _in_words(classes: Sequence[str]) -> str:
    more = ', ...' if len(classes) > _SHOWN else ''
    return f'{len(classes)} classes ({", ".join(classes[:_SHOWN])}{more})'
