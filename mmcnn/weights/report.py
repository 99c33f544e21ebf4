"""What happened to every entry of a weights file and of the model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from mmcnn.compat.moved import renamed_arguments, renamed_attribute

NAMED_KEYS = 5  # how many keys of a kind a message names
_LONGEST_KEY = 120  # characters of a key, or of a key and its two shapes, that a message shows

#: ``(key, shape in the file, shape in the model)``.
Mismatch = tuple[str, tuple[int, ...], tuple[int, ...]]


@renamed_arguments(world='source')
@dataclass(frozen=True)
class LoadReport:
    """What happened to each key, except for BatchNorm's counters, which older files lack.

    ``missing`` and ``unexpected`` have no explanation and are empty after a successful load. What has one is in the
    other attributes, under its reason.

    Attributes:
        used: Keys of the model that now have the file's values.
        missing: Keys of the model that the file does not have.
        unexpected: Keys of the file that the model does not have.
        mismatched: Keys with different shapes; if that was allowed (a head with another number of classes) they
            keep the model's values.
        reshaped: Keys of the model whose values have another layout in the file (transposed, flattened, adapted).
        left_out: Reason -> keys of the file that are not wanted: 'the top', 'stages that are not built', ...
        absent: Reason -> keys of the model that need not be in the file.
        source: Library whose names the file's entries have: 'torchvision', 'darknet', ...
        images: Normalisation of the images that the network was trained on, if known.
        notes: Further sentences: the network of the weights, what was adapted.
    """

    used: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[Mismatch, ...] = ()
    reshaped: tuple[str, ...] = ()
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    absent: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source: str = 'mmcnn'
    images: str = ''
    notes: tuple[str, ...] = ()

    world = renamed_attribute('world', 'source')

    def __str__(self) -> str:
        lines = [f'{len(self.used)} entries loaded', *self.notes]
        if self.reshaped:
            lines.append(f'{len(self.reshaped)} of them converted to this layout')
        lines += [f'left out, {reason}: {listed(keys)}' for reason, keys in self.left_out.items()]
        lines += [f'not in the file, {reason}: {listed(keys)}' for reason, keys in self.absent.items() if keys]
        return '; '.join(lines + self.deviations())

    def deviations(self, allow_mismatch: tuple[str, ...] = ()) -> list[str]:
        """Return one phrase for each kind of key that does not fit, with the first of them.

        Args:
            allow_mismatch: prefixes of keys whose shapes may differ.
        """
        mismatched = [
            f'{key} {in_file} for {in_model}'
            for key, in_file, in_model in self.mismatched
            if not key.startswith(allow_mismatch)
        ]
        kinds = (('missing', self.missing), ('unexpected', self.unexpected), ('of another shape', mismatched))
        return [f'{len(keys)} {kind}: {listed(keys, count=False)}' for kind, keys in kinds if keys]


def compare(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> LoadReport:
    """Compare the entries of a file, under the model's names, with the model's. Nothing is loaded."""
    shared = own.keys() & given.keys()
    fitting = {key for key in shared if own[key].shape == given[key].shape}
    return LoadReport(
        used=without_counters(key for key in own if key in fitting),
        missing=without_counters(key for key in own if key not in shared),
        unexpected=without_counters(key for key in given if key not in shared),
        mismatched=tuple(
            (key, tuple(given[key].shape), tuple(own[key].shape))
            for key in without_counters(key for key in own if key in shared - fitting)
        ),
    )


def explain(report: LoadReport, absent: Mapping[str, Collection[str]]) -> LoadReport:
    """Return the report with the explained ``missing`` keys moved to their reason."""
    known = {reason: tuple(key for key in report.missing if key in keys) for reason, keys in absent.items()}
    known = {reason: keys for reason, keys in known.items() if keys}
    explained = {key for keys in known.values() for key in keys}
    return replace(report, missing=tuple(k for k in report.missing if k not in explained), absent=known)


def without_counters(keys: Iterable[str]) -> tuple[str, ...]:
    """Return the keys without BatchNorm's ``num_batches_tracked``."""
    return tuple(key for key in keys if key.rpartition('.')[2] != 'num_batches_tracked')


def listed(keys: Collection[str], count: bool = True) -> str:
    """Return the first keys and the total number."""
    more = f' and {len(keys) - NAMED_KEYS} more' if len(keys) > NAMED_KEYS else ''
    number = f'{len(keys)} entries: ' if count else ''
    return f'{number}{", ".join(map(_in_a_line, list(keys)[:NAMED_KEYS]))}{more}'


def _in_a_line(key: str) -> str:
    """Return a key as one printable line, whatever a file calls its entries."""
    return key if key.isprintable() and len(key) <= _LONGEST_KEY else f'{key[:_LONGEST_KEY]!r}'
