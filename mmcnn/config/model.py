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

    The model is also built once on the meta device, which takes no time or memory, to find wrong arguments early.

    Raises:
        UsageError: the parts of the model do not fit together, or a type or an argument does not exist.
    """
    with refusals():
        cfg.model = wire(cfg.model)
    # Some of MMDetection's parts compute while they are built, which is impossible on the meta device.
    with contextlib.suppress(RuntimeError):
        build_on_meta(cfg)


def prove_model(cfg: Config) -> list[str]:
    """Run the whole detector of a wired config before its first step (``mmcnn.models.wiring.prove``).

    Returns:
        a sentence about what could not be proven; empty if everything was, or for a classifier.

    Raises:
        UsageError: its parts do not fit together, or something that they need is missing.
    """
    if is_classifier(cfg):
        return []
    with refusals():
        return prove(cfg.model)


def build(cfg: Config) -> nn.Module:
    """Return the model of a config with the values that its layers start with; ``init_weights`` is not called.

    Raises:
        UsageError: as in :func:`wire_model`.
    """
    with refusals(), DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(wire(cfg.model))


def build_on_meta(cfg: Config) -> nn.Module:
    """Return the model of a config without memory.

    Raises:
        UsageError: as in :func:`wire_model`.
    """
    with torch.device('meta'):
        return build(cfg)


def class_layers(cfg: Config) -> tuple[str, ...]:
    """Return the names of the model's entries whose shapes depend on the number of classes; empty if there are none.

    They are found by building the model for two numbers of classes.

    Raises:
        UsageError: as in :func:`wire_model`.
    """
    more = copy.deepcopy(cfg.model)
    set_num_classes(more, max(wiring.num_classes(more), default=1) + 1)
    one, other = shapes(cfg), shapes(Config(dict(model=more)))
    return tuple(name for name, shape in one.items() if shape != other.get(name))


def shapes(cfg: Config) -> dict[str, torch.Size]:
    """Return the shape of each entry of a config's model.

    Raises:
        UsageError: as in :func:`wire_model`.
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
    """Turn errors of the config's parts about their arguments into UsageError.

    Args:
        where: prefix of the message, the entry, unless the parts name it themselves.
    """
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, UsageError) and not where:
            raise  # with its attributes, such as the missing level
        message = error.args[0] if error.args else str(error)
        raise UsageError(f'{where}: {message}' if where else message) from error
