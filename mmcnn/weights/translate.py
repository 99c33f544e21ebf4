"""Names of other libraries' layers to ours, by rule tables: one :class:`World` for each library."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from mmcnn.registry import backbone_families, nearest
from mmcnn.weights.checkpoint import CheckpointError
from mmcnn.weights.report import listed

#: A pattern that has to match a whole layer name, and our name for it: a replacement as of ``re.sub``, a function of
#: the match, or None for layers that are left out on purpose (auxiliary heads).
Rule = tuple[str, str | Callable[[re.Match], str] | None]


@dataclass(frozen=True)
class Translation:
    """A file's tensors under our names, and a word for everything that is not simply renamed."""

    #: Our name -> tensor in our layout.
    state: dict[str, Tensor]
    #: Why something of the file is not in ``state`` -> its keys there: 'auxiliary heads', 'the top', ...
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: Our names of the tensors that lie otherwise in the file (transposed, flattened, split).
    reshaped: Sequence[str] = ()
    #: Why the file ends before something of the model -> our names of it: 'behind the cut-off .conv.137', ...
    absent: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class World:
    """A library whose weights can be loaded here."""

    name: str
    #: Class of our family -> its layer names, or a function of the variant where they depend on the row.
    rules: Mapping[str, Sequence[Rule] | Callable[[str], Sequence[Rule]]]
    #: Class of our family -> what no rule on names can say, done to the renamed state.
    fixes: Mapping[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = field(default_factory=dict)

    #: The library's key and tensor -> the same in PyTorch's layout; None: it is PyTorch's.
    layout: Callable[[str, Tensor], tuple[str, Tensor]] | None = None

    def translate(self, state: Mapping[str, Tensor], variant: str) -> Translation:
        """The library's state dict under the names of our :class:`~mmcnn.models.classifiers.Classifier`.

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
        plain = dict(self.layout(key, value) for key, value in state.items()) if self.layout else state
        renamed = translate(plain, rules(variant) if callable(rules) else rules)
        fixed = self.fixes[family](renamed.state) if family in self.fixes else renamed.state
        moved = {id(value) for value in state.values()}  # the very tensors of the file
        reshaped = [key for key, value in fixed.items() if id(value) not in moved]
        return Translation(fixed, renamed.left_out, reshaped)


def translate(state: Mapping[str, Tensor], rules: Sequence[Rule]) -> Translation:
    """Renames the layers of a state dict; what follows the last dot (``weight``, ``running_mean``) stays.

    Layers that a rule names None for are left out as 'auxiliary heads': nothing else is left out by a rule.

    Args:
        state: ``'layer.name.weight'`` to tensor.
        rules: the first that matches a layer's name holds.

    Raises:
        CheckpointError: no rule matches a layer, or two layers get the same name.
    """
    renamed, unknown, auxiliary = {}, [], []
    for key, value in state.items():
        layer, _, kind = key.rpartition('.')
        matches = ((re.fullmatch(pattern, layer), ours) for pattern, ours in rules)
        match, ours = next((pair for pair in matches if pair[0]), (None, None))
        if match is None or ours is None:
            (unknown if match is None else auxiliary).append(key)
            continue
        name = f'{ours(match) if callable(ours) else match.expand(ours)}.{kind}'
        if name in renamed:
            raise CheckpointError(f"two layers of the file are '{name}' here, the second is '{key}'")
        renamed[name] = value
    if unknown:
        raise CheckpointError(f'{len(unknown)} keys of the file are unknown here: {listed(unknown, count=False)}')
    return Translation(renamed, {'auxiliary heads': tuple(auxiliary)} if auxiliary else {})
