"""Names of other libraries' layers to ours, by rule tables: one :class:`World` for each library."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from mmcnn.registry import backbone_families, nearest
from mmcnn.weights.checkpoint import NAMED_KEYS, CheckpointError

#: A pattern that has to match a whole layer name, and our name for it: a replacement as of ``re.sub``, a function of
#: the match, or None for layers that are left out on purpose (auxiliary heads).
Rule = tuple[str, str | Callable[[re.Match], str] | None]


@dataclass(frozen=True)
class World:
    """A library whose weights can be loaded here."""

    name: str
    #: Class of our family -> its layer names, or a function of the variant where they depend on the row.
    rules: Mapping[str, Sequence[Rule] | Callable[[str], Sequence[Rule]]]
    #: Class of our family -> what no rule on names can say, done to the renamed state.
    fixes: Mapping[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = field(default_factory=dict)

    def translate(self, state: Mapping[str, Tensor], variant: str) -> dict[str, Tensor]:
        """The library's state dict under our names.

        Raises:
            CheckpointError: no variant has this name, the library has no network of its family, or a key has no
                counterpart here.
        """
        families = backbone_families()
        if variant not in families:
            raise CheckpointError(f"no backbone is called '{variant}'; {nearest(variant, families)}")
        names = [cls.__name__ for cls in families[variant].__mro__]  # a ResNet with a pyramid is a ResNet, too
        family = next((name for name in names if name in self.rules), None)
        if family is None:
            known = ', '.join(sorted(self.rules))
            raise CheckpointError(f'{self.name} has no weights for {variant} ({names[0]}); it has some for {known}')
        rules = self.rules[family]
        renamed = translate(state, rules(variant) if callable(rules) else rules)
        return self.fixes[family](renamed) if family in self.fixes else renamed


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
