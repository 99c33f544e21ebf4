"""Names of other libraries' layers to ours, by rule tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from mmcnn.weights.checkpoint import NAMED_KEYS, CheckpointError

#: A pattern that has to match a whole layer name, and our name for it: a replacement as of ``re.sub``, a function of
#: the match, or None for layers that are left out on purpose (auxiliary heads).
Rule = tuple[str, str | Callable[[re.Match], str] | None]


def translate(state: Mapping[str, Tensor], rules: Sequence[Rule]) -> dict[str, Tensor]:
    """Renames the layers of a state dict; what follows the last dot (``weight``, ``running_mean``) stays.

    Args:
        state: ``'layer.name.weight'`` to tensor.
        rules: the first that matches a layer's name holds.

    Raises:
        CheckpointError: no rule matches a layer, or two layers get the same name.
    """
    renamed, unknown = {}, []
    for key, value in state.items():
        layer, _, kind = key.rpartition('.')
        matches = ((re.fullmatch(pattern, layer), ours) for pattern, ours in rules)
        match, ours = next((pair for pair in matches if pair[0]), (None, None))
        if match is None:
            unknown.append(key)
        if match is None or ours is None:
            continue
        name = f'{ours(match) if callable(ours) else match.expand(ours)}.{kind}'
        if name in renamed:
            raise CheckpointError(f"two layers of the file are '{name}' here, the second is '{key}'")
        renamed[name] = value
    if unknown:
        more = f' and {len(unknown) - NAMED_KEYS} more' if len(unknown) > NAMED_KEYS else ''
        raise CheckpointError(
            f'{len(unknown)} keys of the file are unknown here: {", ".join(unknown[:NAMED_KEYS])}{more}'
        )
    return renamed
