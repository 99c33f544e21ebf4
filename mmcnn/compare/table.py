"""What a comparison of backbones found: scores, parameters and latencies as a table and a plot."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.device import get_device

from mmcnn.compare.trainings import Run
from mmcnn.console.layout import NOTHING
from mmcnn.inference.detector import Detector
from mmcnn.plots.comparison import plot_comparison

#: Forward passes of each network before the measured ones.
WARM_UP = 3


def latencies(detectors: dict[str, Detector], size: tuple[int, int], rounds: int) -> dict[str, float]:
    """Milliseconds of a forward pass of each network with one image, BatchNorm folded in.

    From the normalised image to what the heads give; boxes and non-maximum suppression, whose time depends on how much
    was learned, are left out, but for those between the two stages of a two-stage detector.

    Args:
        detectors: by name.
        size: width and height of the image, pixels; the detector pads it as in testing.
        rounds: passes of each that the median is of.
    """
    image = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)

    def forward(detector: Detector) -> Callable[[], Any]:
        data = detector.prepare([image])

        def call() -> None:
            detector.model(**data, mode='tensor')
            if data['inputs'].is_cuda:
                torch.cuda.synchronize()

        return call

    with torch.no_grad():
        return {name: 1e3 * s for name, s in medians({n: forward(d) for n, d in detectors.items()}, rounds).items()}


def medians(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each call, made in turn (A B A B ...) so that a slow minute of the machine hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(WARM_UP + rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if i >= WARM_UP:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


@dataclass
class Row:
    """A backbone in the table; the lists have an entry for each finished seed."""

    backbone: str
    parameters: int | None = None  # of the whole detector, without BatchNorm's statistics
    latency_ms: float | None = None
    AP: list[float | None] = field(default_factory=list)  # None: there was nothing to measure
    AP50: list[float | None] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failures: dict[int, str] = field(default_factory=dict)  # seed to reason


@dataclass
class Table:
    """What a comparison found."""

    title: str  # config and budget
    measured: str  # how the latencies were
    rows: list[Row]

    def as_json(self) -> str:
        """All numbers, of each seed."""
        return json.dumps(asdict(self), indent=1, allow_nan=False)

    def as_markdown(self) -> str:
        """Rows in the order of the backbones; of several seeds mean and standard deviation."""
        lines = [
            '| backbone | parameters | AP | AP50 | latency, ms | training time |', '|---|--:|--:|--:|--:|--:|',
        ]  # fmt: skip
        for row in self.rows:
            cells = [f'`{row.backbone}`', *['failed'] * 5]
            if row.AP:
                cells[1:] = [
                    f'{row.parameters:,}', _spread(row.AP), _spread(row.AP50), f'{row.latency_ms:.1f}',
                    _duration(statistics.mean(row.seconds)),
                ]  # fmt: skip
            lines.append(f'| {" | ".join(cells)} |')
        failures = [
            f'- `{row.backbone}`, seed {s}: failed: {why}' for row in self.rows for s, why in row.failures.items()
        ]
        nothing = ['', f'{NOTHING[0].upper()}{NOTHING[1:]}.'] if any(None in row.AP for row in self.rows) else []
        rest = [*nothing, *(['', *failures] if failures else [])]
        return '\n'.join([f'{self.title}.', '', *lines, '', self.measured, *rest])

    def measured_rows(self) -> list[Row]:
        """Those with a score of each seed that ended."""
        return [row for row in self.rows if row.AP and None not in row.AP]

    def write(self, folder: Path) -> None:
        """Writes ``comparison.md``, ``.json`` and, unless all failed, ``.png``."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'comparison.md').write_text(self.as_markdown() + '\n', encoding='utf-8')
        (folder / 'comparison.json').write_text(self.as_json() + '\n', encoding='utf-8')
        if finished := self.measured_rows():
            plot_comparison(finished, self.title, folder / 'comparison.png')


def collect(runs: Sequence[Run], title: str, size: tuple[int, int], rounds: int) -> Table:
    """Results of the runs, with parameters and latencies that are measured now, of the first finished seed of each.

    Args:
        runs: after :func:`train_all`.
        title: of the table.
        size, rounds: as :func:`latencies` takes them.

    Raises:
        CheckpointError: one of a finished run does not load.
    """
    rows: dict[str, Row] = {}
    detectors: dict[str, Detector] = {}
    for run in runs:
        row, result = rows.setdefault(run.backbone, Row(run.backbone)), run.result()
        if result is None:
            row.failures[run.seed] = (run.record() or {}).get('failure') or 'its last checkpoint is gone'
            continue
        for key, value in result.items():
            getattr(row, key).append(value)
        if run.backbone not in detectors:
            detectors[run.backbone] = Detector(run.checkpoint())
            row.parameters = detectors[run.backbone].num_parameters
    for name, milliseconds in latencies(detectors, size, rounds).items():
        rows[name].latency_ms = milliseconds
    device = f'a CPU (threads: {torch.get_num_threads()})' if get_device() == 'cpu' else torch.cuda.get_device_name()
    measured = (
        'AP and AP50: last weights, validation set. Time: the whole run. Latency: '
        f'one image of {size[0]} x {size[1]} px, padded as in testing, on {device}, BatchNorm folded in, without the '
        f'suppression of boxes, median of {rounds} in turn.'
    )
    return Table(title, measured, list(rows.values()))


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
