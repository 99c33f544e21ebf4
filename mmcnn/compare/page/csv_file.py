"""comparison.csv: a line for each run, with all metrics and costs."""

from __future__ import annotations

import csv
import io

from mmcnn.compare.results import Comparison

_RUN = ('seed', 'init_seed', 'folder', 'failure', 'seconds', 'checkpoint_sha256', 'command', 'detections')


def as_csv(comparison: Comparison) -> str:
    """Return the runs as CSV (RFC 4180): costs have their units in their names, missing values are empty."""
    runs = [(candidate, run) for candidate in comparison.candidates for run in candidate.runs]
    metrics = {key: None for _, run in runs for key in run.metrics}
    costs = {(key, cost.unit): None for each in comparison.candidates for key, cost in each.costs.items()}
    text = io.StringIO()
    writer = csv.writer(text)
    heads = [f'{key}, {unit}' if unit else key for key, unit in costs]
    writer.writerow(['candidate', 'backbone', 'weights', 'fraction', *_RUN, *metrics, *heads])
    for candidate, run in runs:
        found = [candidate.costs.get(key) for key, _ in costs]
        writer.writerow([
            candidate.name, candidate.backbone, candidate.weights, candidate.fraction,
            *(getattr(run, key) for key in _RUN), *(run.metrics.get(key) for key in metrics),
            *(each.value if each and each.unit == unit else None for each, (_, unit) in zip(found, costs, strict=True)),
        ])  # fmt: skip
    return text.getvalue()
