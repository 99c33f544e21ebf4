"""Translation of other libraries' layer names to ours, by rule tables: one :class:`Source` per library."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mmcnn.errors import CheckpointError
from mmcnn.image_format import ImageFormat, in_words
from mmcnn.models.families import backbone_families
from mmcnn.nearest import nearest
from mmcnn.weights.report import listed

if TYPE_CHECKING:
    from mmcnn.models.backbones.row import Row

#: A pattern that must match a whole layer name, and our name for it: a replacement as for ``re.sub``, a function of the
#: match (it raises LookupError if there is no such layer), or None for layers that are left out on purpose (auxiliary
#: heads).
Rule = tuple[str, str | Callable[[re.Match], str] | None]


#: Why layers after the backbone that belong to no library are left out.
OWN_CLASSIFIER = 'a custom classifier'
#: Common names of custom layers after a backbone, and Keras's name of a Dense layer.
_CLASSIFIER = re.compile(
    r'(fc|heads?|cls|classif(?:ier|ication)?|last_linear|linear|logits?|predictions?|probs|dense|outputs?)'
    r'(_?\d+)?([._/].*)?',
    re.IGNORECASE | re.ASCII,
)


class OtherRowError(CheckpointError):
    """A library's file whose tensors would fit a row that computes something different.

    Attributes:
        fitting: the rows that compute the same, of any size.
    """

    def __init__(self, sentence: str, fitting: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.fitting = tuple(fitting)


@dataclass(frozen=True)
class Translation:
    """A file's tensors under our names, and notes about everything that is not just renamed."""

    #: Our name -> tensor in our layout.
    state: dict[str, Tensor]
    #: Reason -> the file's keys that are not in ``state``: 'auxiliary heads', 'the top', ...
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: Our names of the tensors that have another layout in the file (transposed, flattened, split).
    reshaped: Sequence[str] = ()
    #: Reason -> our names of what a truncated file lacks: 'after the end of .conv.137', ...
    absent: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: Sentences for the user who loads the file: differences between its training and the row.
    notes: Sequence[str] = ()
    #: The training images in words, if the library is known to use others than our row.
    images: str = ''


@dataclass(frozen=True)
class Source:
    """A library whose weights can be loaded here."""

    name: str
    #: Class of our family -> its layer names, or a function of the variant if they depend on the row.
    rules: Mapping[str, Sequence[Rule] | Callable[[str], Sequence[Rule]]]
    #: Class of our family -> correction of the renamed state beyond names.
    fixes: Mapping[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = field(default_factory=dict)
    #: Converts the library's key and tensor to PyTorch's layout; None if it is PyTorch's.
    layout: Callable[[str, Tensor], tuple[str, Tensor]] | None = None
    #: Class of our family -> fields of a row with these values in the library's networks, which no tensor shows:
    #: ``dict(norm=dict(eps=1e-5))``. Rows with other values are rejected.
    demands: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: Class of our family -> the library's training images, if a row of ours differs.
    images: Mapping[str, ImageFormat] = field(default_factory=dict)
    #: Takes the file's state and the row and returns what the rules apply to, under the library's names; None: all.
    prepare: Callable[[Mapping[str, Tensor], Row], Translation] | None = None

    def translate(self, state: Mapping[str, Tensor], variant: str) -> Translation:
        """Return the library's state dict under the names of our :class:`~mmcnn.models.classifiers.Classifier`.

        Raises:
            CheckpointError: no variant has this name, the library has no network of its family, or a key has no
                counterpart here.
            OtherRowError: every key has one, but the library's network is not the row's.
        """
        families = backbone_families()
        if variant not in families:
            raise CheckpointError(f"unknown backbone '{variant}'; {nearest(variant, families)}")
        names = [cls.__name__ for cls in families[variant].__mro__]  # a ResNet with a pyramid is also a ResNet
        family = next((name for name in names if name in self.rules), None)
        if family is None:
            known = ', '.join(sorted(self.rules))
            raise CheckpointError(f'{self.name} has no weights for {variant} ({names[0]}); it has weights for {known}')
        row = families[variant].variants[variant]
        given = self.prepare(state, row) if self.prepare else Translation(dict(state))
        plain = dict(self.layout(key, value) for key, value in given.state.items()) if self.layout else given.state
        rules = self.rules[family]
        renamed = translate(plain, rules(variant) if callable(rules) else rules)
        self._refuse_other(families[variant].variants, variant, self.demands.get(family, {}))
        fixed = self.fixes[family](renamed.state) if family in self.fixes else renamed.state
        moved = {id(value) for value in given.state.values()}  # identity: tensors that are unchanged
        reshaped = [key for key, value in fixed.items() if id(value) not in moved]
        images = in_words(self.images[family]) if family in self.images else ''
        return Translation(fixed, {**given.left_out, **renamed.left_out}, reshaped, notes=given.notes, images=images)

    def _refuse_other(self, rows: Mapping[str, Row], variant: str, demands: Mapping[str, Any]) -> None:
        """Raise an error for weights whose shapes would fit but whose results would differ."""
        for name, wanted in demands.items():
            own = getattr(rows[variant], name)
            if not _agree(own, wanted):
                raise OtherRowError(
                    f"{self.name}'s network has {name}={wanted!r}, but {variant} has {own!r} and would give wrong "
                    'results with its weights',
                    [other for other in rows if _agree(getattr(rows[other], name), wanted)],
                )


def _agree(own: Any, wanted: Any) -> bool:
    """Return whether a field of a row is as wanted; in a config, only the wanted entries count."""
    if isinstance(wanted, Mapping):
        return isinstance(own, Mapping) and all(own.get(key) == value for key, value in wanted.items())
    return own == wanted


def translate(state: Mapping[str, Tensor], rules: Sequence[Rule]) -> Translation:
    """Rename the layers of a state dict; the part after the last dot (``weight``, ``running_mean``) stays.

    Layers with None in the rules are left out as 'auxiliary heads', and those without a rule that have common names of
    custom classifiers (``fc.1``, ``dense_2``, ``head``) as :data:`OWN_CLASSIFIER`.

    Args:
        state: ``'layer.name.weight'`` to tensor.
        rules: the first one that matches a layer's name applies.

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
        try:
            name = f'{ours(match) if callable(ours) else match.expand(ours)}.{kind}'
        except LookupError:
            unknown.append(key)
            continue
        if name in renamed:
            raise CheckpointError(f"two layers of the file map to '{name}'; the second is '{key}'")
        renamed[name] = value
    classifier = _own_classifier(unknown)
    if unknown and (not renamed or len(classifier) < len(unknown)):
        raise CheckpointError(f'{len(unknown)} keys of the file are unknown: {listed(unknown, count=False)}')
    reasons = {'auxiliary heads': tuple(auxiliary), OWN_CLASSIFIER: classifier}
    return Translation(renamed, {reason: keys for reason, keys in reasons.items() if keys})


def without_own_classifier(state: Mapping[str, Tensor], known: Collection[str]) -> Translation:
    """Return the entries unchanged, except a custom classifier; ``known`` are names that do not belong to one."""
    classifier = _own_classifier([key for key in state if key not in known])
    kept = {key: value for key, value in state.items() if key not in classifier}
    return Translation(kept, {OWN_CLASSIFIER: classifier} if classifier else {})


def _own_classifier(keys: Sequence[str]) -> tuple[str, ...]:
    """Return the unknown keys that are a classifier's: by name, and Keras's norms between its Dense layers."""
    if not any(_CLASSIFIER.fullmatch(key.rpartition('.')[0]) for key in keys):
        return ()
    norm = re.compile(r'batch_normalization_\d+')
    layers = {key: key.rpartition('.')[0] for key in keys}
    return tuple(key for key, layer in layers.items() if _CLASSIFIER.fullmatch(layer) or norm.fullmatch(layer))
