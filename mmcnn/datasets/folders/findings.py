"""Errors in a data folder: each with its kind, file and id, and all of them as one readable report."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mmcnn.console.layout import number

#: Every kind of finding, in the order of reports: consequences of other errors come last. A ``fatal`` one ends the run;
#: an ``error`` does so unless it is skipped (``skip_bad``); after a ``warning`` the run continues; a ``note`` reports
#: what was corrected.
SEVERITY = {
    'bad id': 'error',
    'duplicate id': 'error',
    'bad image entry': 'error',
    'missing image': 'error',
    'unreadable image': 'error',
    'truncated image': 'error',
    'decompression bomb': 'error',
    'wrong size': 'error',
    'train image in val': 'error',
    'unreadable annotation': 'error',
    'unknown image': 'error',
    'unknown category': 'error',
    'bad box': 'error',
    'box of zero area': 'error',
    'box outside the image': 'error',
    'bad iscrowd': 'error',
    'no images': 'fatal',
    'no boxes': 'fatal',
    'different categories': 'fatal',
    'bad category': 'fatal',
    'box format': 'fatal',
    'box partly outside the image': 'warning',
    'box below a pixel': 'warning',
    'bad area': 'warning',
    'corners?': 'warning',
    'image named twice': 'warning',
    'class without a box': 'warning',
    'annotation without an image': 'warning',
    'crowd boxes': 'warning',
    'nothing to measure': 'warning',
    'read as': 'note',
    'classes in use': 'note',
    'objects beyond AP': 'note',
}
SHOWN = 5
#: The severities in the order of a report.
_LEVELS = (('note',), ('warning',), ('error', 'fatal'))


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        kind: A key of :data:`SEVERITY`.
        file: The user's file at fault, relative to the data folder; with ``:LINE`` if it has lines.
        text: The fault as the rest of a sentence about the file; it includes the id.
        id: Id of the image, annotation or category; None if it has none.
        split: 'train' or 'val'.
        entry: The list of the COCO dict, 'images' or 'annotations', and the index in it that ``skip_bad`` skips;
            None: it is not an entry of the dict.
        follows: Whether it is a consequence of errors: for example, a class without boxes because its boxes have
            errors.
    """

    kind: str
    file: str
    text: str
    id: int | None = None
    split: str = ''
    entry: tuple[str, int] | None = None
    follows: bool = False

    @property
    def part(self) -> str:
        """The name of ``split`` up to release 0.1, kept for one release."""
        warnings.warn('Finding.part was renamed to Finding.split', DeprecationWarning, stacklevel=2)
        return self.split

    @property
    def severity(self) -> str:
        """'fatal', 'error', 'warning' or 'note'."""
        return SEVERITY[self.kind]

    def __str__(self) -> str:
        return f'{self.file}: {self.text}'


class Report:
    """The result of a check of a data folder: its ``findings``, and a ``title`` with the totals."""

    findings: tuple[Finding, ...]

    def title(self) -> str:
        """Return a line with the totals."""
        raise NotImplementedError

    @property
    def ok(self) -> bool:
        """Whether the data can be used; there may be warnings and notes."""
        return not self.of('fatal', 'error')

    def of(self, *severities: str) -> list[Finding]:
        """Return the findings that are 'fatal', 'error', 'warning' or 'note'."""
        return [finding for finding in self.findings if finding.severity in severities]

    def text(self, shown: int = SHOWN) -> str:
        """Return the whole report, with this number of findings of each kind."""
        return '\n'.join([self.title(), *(listed(self.findings, shown) or ['no faults'])])

    def __str__(self) -> str:
        return self.text()


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """Return the number of findings of each kind, in the order of :data:`SEVERITY`."""
    found = [finding.kind for finding in findings]
    return {kind: found.count(kind) for kind in SEVERITY if kind in set(found)}


def listed(findings: Sequence[Finding], shown: int = SHOWN) -> list[str]:
    """Return the lines of a report: for each kind its number and the first findings.

    The most severe kinds come last, where the user looks first: notes, then warnings, then a line about consequences of
    errors, and then the errors.
    """
    lines = []
    by_kind: dict[str, list[Finding]] = {kind: [] for kind in SEVERITY}
    for finding in findings:
        if not finding.follows:
            by_kind[finding.kind].append(finding)
    for severities in _LEVELS:
        if 'error' in severities:
            lines += _folded([finding for finding in findings if finding.follows])
        for kind, members in by_kind.items():
            if members and SEVERITY[kind] in severities:
                lines.append(f'{"error" if "error" in severities else SEVERITY[kind]}: {kind} ({len(members)})')
                lines += [f'  {member}' for member in members[:shown]]
                if len(members) > shown:
                    lines.append(f'  and {len(members) - shown} more')
    return lines


def _folded(findings: Sequence[Finding]) -> list[str]:
    """Return one line about all consequences of errors."""
    counts_by: dict[tuple[str, str], int] = {}
    for finding in findings:
        counts_by[finding.file, finding.kind] = counts_by.get((finding.file, finding.kind), 0) + 1
    words = [
        f'{file} has {number(count, "class")} without boxes' if kind == 'class without a box' else f'{file} has {kind}'
        for (file, kind), count in counts_by.items()
    ]
    return [f'consequences of the errors below: {"; ".join(words)}'] if words else []
