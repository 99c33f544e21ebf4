"""The network that a file of weights most likely belongs to, by the shapes of its tensors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mmcnn.errors import CheckpointError
from mmcnn.models.families import backbone_families
from mmcnn.weights.checkpoint import Checkpoint
from mmcnn.weights.fitting import attempt
from mmcnn.weights.names import CLASS_LAYERS, Request

#: Tensor sizes of every network and of every detector config that is shipped, since building them all would take
#: half a minute. ``make table`` writes the file by :mod:`mmcnn.zoo.sizes`.
STORED = Path(__file__).with_name('sizes.json')
#: Fraction of a backbone's tensors that a file must have: some libraries merge some of them.
ALIKE = 0.6
#: Maximum number of networks that are built, and of those that are named.
_TRIED, _NAMED = 4, 4
#: Number of tensors of a detector's file that may be its head's or its anchors.
_HEADS = 12


class Sizes(NamedTuple):
    """Sizes of a network's tensors, except those that depend on the number of classes."""

    is_detector: bool
    backbone: Counter[int]
    behind: Counter[int]  # in a classifier's top, or in a detector's neck and head


def likeliest(file: Checkpoint) -> list[str]:
    """Return the names of the networks and configs that a file fits, the most similar first; empty if none does.

    Tensor sizes are compared, which are independent of a library's layouts and names. Similar networks are built
    without values, and loading the file into them is tried.
    """
    state = file.tree.state if file.tree is not None else file.state_dict
    given = sizes_of(state.values())
    shares = {}
    for name, own in stored_sizes().items():
        whole = own.backbone + own.behind
        if own.is_detector:
            if not whole - given and (given - whole).total() <= _HEADS:
                shares[name] = _share(given, whole)
        elif (given & own.backbone).total() >= ALIKE * own.backbone.total():
            shares[name] = max(_share(given, own.backbone), _share(given, whole))
    found, best = [], 0.0
    for tried, name in enumerate(sorted(shares, key=lambda name: (-shares[name], name))):
        if tried >= _TRIED or len(found) >= _NAMED or shares[name] < best - 1e-9:
            break
        if stored_sizes()[name].is_detector or _holds(name, file):
            found.append(name)
            best = shares[name]
    return found


def sizes_of(tensors: Iterable[Tensor]) -> Counter[int]:
    """Return how many tensors have how many values, without scalars such as BatchNorm's counters."""
    return Counter(tensor.numel() for tensor in tensors if tensor.numel() > 1)


def sizes_of_parts(state: dict[str, Tensor], is_detector: bool) -> Sizes:
    """Return the sizes of a classifier or a detector by the names of its tensors (``backbone. ...``)."""
    kept = {key: value for key, value in state.items() if not key.startswith(CLASS_LAYERS)}
    backbone = {key: value for key, value in kept.items() if key.startswith('backbone.')}
    behind = (value for key, value in kept.items() if key not in backbone)
    return Sizes(is_detector, sizes_of(backbone.values()), sizes_of(behind))


def _share(given: Counter[int], own: Counter[int]) -> float:
    return (given & own).total() / max((given | own).total(), 1)


def _holds(name: str, file: Checkpoint) -> bool:
    """Return whether a network accepts the file as its weights, apart from the head."""
    with torch.device('meta'):
        model = backbone_families()[name](variant=name)
    try:
        return attempt(file, Request(model)).fit is not None
    except CheckpointError:
        return False


@cache
def stored_sizes() -> dict[str, Sizes]:
    """Return the entries of :data:`STORED` for each network and each detector config."""

    def read(sizes: dict[str, int]) -> Counter[int]:
        return Counter({int(size): count for size, count in sizes.items()})

    content = json.loads(STORED.read_text(encoding='utf-8'))
    return {
        name: Sizes(is_detector, read(backbone), read(behind))
        for name, (is_detector, backbone, behind) in content.items()
    }
