"""Which network a file of weights is most likely of, by the shapes of its tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from mmcnn.models.classifiers import build_classifier, list_classifiers
from mmcnn.models.families import backbone_families

#: Share of the tensors, of the file's and the network's together, that have to agree.
ALIKE = 0.5
_NAMED = 3


def likeliest(state: Mapping[str, Tensor]) -> list[str]:
    """Short names of the networks most like a file, the best first; none where no network is like it.

    Compared are the numbers of values, not the shapes: these survive every library's layout, and every name.

    Args:
        state: the file's tensors under any names.
    """
    given = _sizes(state.values())
    scores = {name: (given & own).total() / max((given | own).total(), 1) for name, own in _networks().items()}
    best = max(scores.values())
    names = sorted(scores, key=lambda name: (-scores[name], name))
    return [name for name in names if scores[name] >= max(ALIKE, best - 1e-9)][:_NAMED]


@cache
def _networks() -> dict[str, Counter]:
    """Sizes of every network's tensors, with its top where it has one."""
    with torch.device('meta'):
        models = {name: build_classifier(name) for name in list_classifiers()}
        models |= {name: cls(variant=name) for name, cls in backbone_families().items() if name not in models}
    return {name: _sizes(model.state_dict().values()) for name, model in models.items()}


def _sizes(tensors) -> Counter:
    return Counter(tensor.numel() for tensor in tensors if tensor.numel() > 1)
