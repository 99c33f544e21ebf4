"""The model of a config: wiring, building without memory, and its kind."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from mmcnn.errors import UsageError
from mmcnn.models import wiring
from mmcnn.models.wiring import prove, set_num_classes, wire


def wire_model(cfg: Config) -> None:
    """Fill in the model's channels and strides (``mmcnn.models.wiring.wire``), so that the dumped config shows them.

    The model is also built once on the meta device, in no time and memory, so that a wrong argument is found here.

    Raises:
        UsageError: the parts of the model do not fit, or a type or an argument does not exist.
    """
    with refusals():
        cfg.model = wire(cfg.model)
    # Some of MMDetection's parts compute while they are built, which the meta device cannot.
    with contextlib.suppress(RuntimeError):
        build_on_meta(cfg)


def prove_model(cfg: Config) -> list[str]:
    """Run the whole detector of a wired config before its first step (``mmcnn.models.wiring.prove``).

    Returns:
        what could not be proven, a sentence; empty: all is, or it is a classifier.

    Raises:
        UsageError: its parts do not fit together, or need what is not there.
    """
    if is_classifier(cfg):
        return []
    with refusals():
        return prove(cfg.model)


def build_on_meta(cfg: Config) -> nn.Module:
    """Return the model of a config without memory.

    Raises:
        UsageError: as :func:`wire_model`.
    """
    with refusals(), DefaultScope.overwrite_default_scope('mmdet'), torch.device('meta'):
        return MODELS.build(wire(cfg.model))


def class_layers(cfg: Config) -> tuple[str, ...]:
    """Names of the entries of a config's model whose shape follows the number of classes; empty: it has none.

    They are found by building it for two numbers of classes.

    Raises:
        UsageError: as :func:`wire_model`.
    """
    more = copy.deepcopy(cfg.model)
    set_num_classes(more, max(wiring.num_classes(more), default=1) + 1)
    one, other = shapes(cfg), shapes(Config(dict(model=more)))
    return tuple(name for name, shape in one.items() if shape != other.get(name))


def shapes(cfg: Config) -> dict[str, torch.Size]:
    """Shape of each entry of a config's model.

    Raises:
        UsageError: as :func:`wire_model`.
    """
    try:
        model = build_on_meta(cfg)
    except RuntimeError:  # a part that computes while it is built
        with refusals(), DefaultScope.overwrite_default_scope('mmdet'), torch.random.fork_rng(devices=[]):
            model = MODELS.build(wire(cfg.model))
    return {name: value.shape for name, value in model.state_dict().items()}


def is_classifier(cfg: Config) -> bool:
    """Return whether a config is that of a classifier, not of a detector."""
    return wiring.is_classifier(cfg.get('model', {}))


@contextlib.contextmanager
def refusals(where: str = '') -> Iterator[None]:
    """Turn errors of the parts of a config about their arguments into UsageError.

    Args:
        where: the entry that the message begins with, unless the parts name it themselves.
    """
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, UsageError) and not where:
            raise  # with what it says beside its message, such as the level that is missing
        message = error.args[0] if error.args else str(error)
        raise UsageError(f'{where}: {message}' if where else message) from error
