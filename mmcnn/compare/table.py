"""Summary of a comparison: scores, costs and verdicts as Markdown, and the rows of files up to release 0.1."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mmcnn.compare.results import AP as AP_KEY
from mmcnn.compare.results import AP50 as AP50_KEY
from mmcnn.compare.results import CandidateResult, Comparison
from mmcnn.console.layout import NOTHING

#: Number of verdicts in the Markdown.
_SHOWN = 10


@dataclass
class Row:
    """A backbone in the table; the lists have an entry for each finished seed."""

    backbone: str
    parameters: int | None = None  # of the whole detector, without BatchNorm's statistics
    latency_ms: float | None = None  # from an image to its boxes
    AP: list[float | None] = field(default_factory=list)  # None: there was nothing to measure
    AP50: list[float | None] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failures: dict[int, str] = field(default_factory=dict)  # seed to reason
    multiply_adds: int | None = None  # of the network

    @classmethod
    def of(cls, candidate: CandidateResult) -> Row:
        """Return the row of a candidate."""
        finished = [run for run in candidate.runs if run.failure is None]
        costs = {name: cost.value for name, cost in candidate.costs.items()}
        return cls(
            candidate.name,
            costs.get('parameters'),
            costs.get('latency'),
            [run.metrics.get(AP_KEY) for run in finished],
            [run.metrics.get(AP50_KEY) for run in finished],
            [run.seconds for run in finished],
            {run.seed: run.failure for run in candidate.runs if run.failure is not None},
            costs.get('multiply_adds'),
        )


def as_markdown(comparison: Comparison) -> str:
    """Return the candidates in the given order, with mean and standard deviation over several seeds, and verdicts."""
    rows = [Row.of(each) for each in comparison.candidates]
    lines = [
        f'{comparison.title}.', '',
        '| backbone | AP | AP50 | parameters | multiply-adds | latency, ms | training time |',
        '|---|--:|--:|--:|--:|--:|--:|',
    ]  # fmt: skip
    for row in rows:
        cells = ['failed'] * 6
        if row.AP:
            cells = [
                _spread(row.AP), _spread(row.AP50), _count(row.parameters), _count(row.multiply_adds),
                '-' if row.latency_ms is None else f'{row.latency_ms:.1f}', _duration(statistics.mean(row.seconds)),
            ]  # fmt: skip
        lines.append(f'| `{row.backbone}` | {" | ".join(cells)} |')
    if comparison.pairs:
        lines += ['', *_verdicts(comparison)]
    if any(None in row.AP for row in rows):
        lines += ['', f'{NOTHING[0].upper()}{NOTHING[1:]}.']
    failures = [f'- `{row.backbone}`, seed {s}: failed: {why}' for row in rows for s, why in row.failures.items()]
    return '\n'.join([*lines, *(['', *failures] if failures else [])])


def old_rows(comparison: Comparison) -> dict[str, Any]:
    """Return the entries of ``comparison.json`` up to release 0.1, which programs may read."""
    rows = [asdict(Row.of(each)) for each in comparison.candidates]
    how = next((each.costs['latency'].how for each in comparison.candidates if 'latency' in each.costs), '')
    return dict(rows=rows, measured=f'AP and AP50: last weights, validation set. Latency: {how}.')


def _verdicts(comparison: Comparison) -> list[str]:
    """Return the distinguishable pairs, or else those with the largest differences, and the number of the others."""
    apart = [pair for pair in comparison.pairs if pair.low is not None and pair.low > 0]
    rest = len(comparison.pairs) - len(apart)
    lines = [f'- {pair.verdict}' for pair in apart[:_SHOWN]]
    if len(apart) > _SHOWN:
        lines.append(f'- {len(apart) - _SHOWN} more are in comparison.html')
    if not apart:
        lines = [f'- {pair.verdict}' for pair in comparison.pairs[:3]]
    told = f'{len(apart)} of {len(comparison.pairs)} pairs are distinguishable'
    if not apart:
        return [f'{told}; the largest differences:' if rest > len(lines) else f'{told}.', '', *lines]
    return [f'{told}, {rest} are not:' if rest else f'{told}:', '', *lines]


def _count(value: float | None) -> str:
    return '-' if value is None else f'{value:,.0f}'


def _spread(values: Sequence[float | None]) -> str:
    if None in values:
        return '-'
    mean = f'{statistics.mean(values):.3f}'
    return f'{mean} ± {statistics.stdev(values):.3f}' if len(values) > 1 else mean


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f'{hours} h {minutes:02} min'
    return f'{minutes} min {rest:02} s' if minutes else f'{rest} s'
