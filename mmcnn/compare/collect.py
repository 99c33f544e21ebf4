"""Collection of the results of a comparison's runs: scores, curves, detections and costs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmcnn.compare.candidates import Candidate
from mmcnn.compare.costs import measured
from mmcnn.compare.network import counted_costs
from mmcnn.compare.results import CandidateResult, Comparison, Cost, RunResult
from mmcnn.compare.run import Run
from mmcnn.config.parts import inner_datasets
from mmcnn.console.layout import nothing_measured
from mmcnn.engine.atomic_file import write_whole
from mmcnn.evaluation.kept_detections import DETECTIONS
from mmcnn.inference.detector import Detector
from mmcnn.inference.images import read_image
from mmcnn.machine import machine
from mmcnn.plots.curves import read_scalars

#: Measured costs of a candidate, in its folder: they outlive the checkpoints.
COSTS_FILE = 'costs.json'
#: Number of validation images for the measurement of latencies.
_IMAGES = 16


def collect(
    runs: Sequence[Run],
    work_dir: Path,
    size: tuple[int, int],
    rounds: int,
    title: str,
    command: str,
    dropped: Mapping[Candidate, str],
) -> Comparison:
    """Return the results of the runs, and their costs, which are measured now if the checkpoints exist.

    Args:
        runs: runs of the comparison, finished or not.
        work_dir: its folder.
        size: width and height of the test images, pixels.
        rounds: rounds of the latency measurement.
        title: config and budget.
        command: command that repeats it.
        dropped: candidates that were not trained to the end, and why.

    Raises:
        CheckpointError: the checkpoint of a finished run cannot be loaded.
    """
    of: dict[Candidate, list[Run]] = {}
    for run in runs:
        of.setdefault(run.candidate, []).append(run)
    costs = _costs(of, work_dir, size, rounds)
    results = [
        CandidateResult(
            each.name, each.backbone, each.weights, each.fraction, _with_seconds(costs[each], several),
            {name: value for name, value in (('widen_factor', each.widen_factor), ('epochs', each.epochs)) if value},
            [_result(run, work_dir, dropped.get(each)) for run in several], dropped.get(each),
        )
        for each, several in of.items()
    ]  # fmt: skip
    found = machine()
    versions = {name: str(found[name]) for name in ('mmcnn', 'torch', 'python', 'processor', 'gpu') if found[name]}
    return Comparison(
        title, command, datetime.now(UTC).date().isoformat(), versions, _data(runs), results,
        not_measured=_not_measured(results),
    )  # fmt: skip


def images_of(cfg: Config) -> list[tuple[int, Path]]:
    """Return id and path of each validation image of a run's config."""
    folder, ann_file = _val(cfg)
    return [(each['id'], folder / each['file_name']) for each in json.loads(ann_file.read_bytes())['images']]


def config_of(run: Run) -> Config:
    """Return the config of a run, as it was trained."""
    return Config.fromfile(run.folder / run.config_name)


def annotations_of(run: Run) -> Path:
    """Return the COCO file that a run was validated on."""
    return _val(config_of(run))[1]


def images_folder_of(run: Run) -> Path:
    """Return the folder that the file names of the images are relative to."""
    return _val(config_of(run))[0]


def _val(cfg: Config) -> tuple[Path, Path]:
    """Return the folder of the validation images, and the COCO file."""
    dataset = next(inner_datasets(cfg.val_dataloader.dataset))
    root = Path(dataset.get('data_root') or '')
    return root / (dataset.get('data_prefix') or {}).get('img', ''), root / dataset.ann_file


def _data(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the training and validation data, of the candidates with the most data; empty: no run has started."""
    begun = [run for run in runs if (run.folder / run.config_name).is_file()]
    if not begun:
        return {}
    cfg = config_of(max(begun, key=lambda run: run.candidate.fraction))
    train = next(inner_datasets(cfg.train_dataloader.dataset))
    _, ann_file = _val(cfg)
    coco = json.loads(ann_file.read_bytes())
    return dict(
        path=str(train.get('data_root') or ''),
        val_sha256=hashlib.sha256(ann_file.read_bytes()).hexdigest(),
        num_train=len(json.loads(Path(train.get('data_root') or '', train.ann_file).read_bytes())['images']),
        num_val=len(coco['images']),
        classes=[each['name'] for each in sorted(coco['categories'], key=lambda each: each['id'])],
    )


def _result(run: Run, work_dir: Path, dropped: str | None) -> RunResult:
    record = run.record() or {}
    folder = run.folder.relative_to(work_dir).as_posix()
    command = shlex.join(['mmcnn', *run.command()[3:]])
    if run.result() is None:
        why = (
            dropped
            or record.get('failure')
            or ('its last checkpoint is missing' if record.get('result') else 'not finished')
        )
        return RunResult(run.seed, run.init_seed, folder, why, command=command)
    losses, scores = read_scalars(run.folder)
    last = next(reversed(scores.values()))
    metrics = {
        key.removeprefix('coco/'): None if nothing_measured({key: value}) else value
        for key, value in last.items()
        if key.startswith('coco/') and isinstance(value, float)
    }
    detections = run.folder / DETECTIONS
    return RunResult(
        run.seed,
        run.init_seed,
        folder,
        None,
        metrics,
        [
            dict(epoch=epoch, AP=_number(entry.get('coco/bbox_mAP')), AP50=_number(entry.get('coco/bbox_mAP_50')))
            for epoch, entry in scores.items()
        ],
        # JSON has no NaN, which a training can contain with on_nan=skip.
        [
            dict(iteration=step, loss=loss)
            for step, each in losses.items()
            if math.isfinite(loss := each.get('loss', math.nan))
        ],
        record['result']['seconds'],
        run.checkpoint_sha256(),
        command,
        detections.relative_to(work_dir).as_posix() if detections.is_file() else None,
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) and value >= 0 else None


def _costs(
    of: dict[Candidate, list[Run]], work_dir: Path, size: tuple[int, int], rounds: int
) -> dict[Candidate, dict[str, Cost]]:
    """Return the costs of each candidate: measured now if there is a checkpoint, else as measured before."""
    costs: dict[Candidate, dict[str, Cost]] = {each: _stored(work_dir / each.folder) for each in of}
    present = {
        each: run
        for each, several in of.items()
        if (run := next((run for run in several if run.checkpoint().is_file() and run.result()), None)) is not None
    }
    if not present:
        return costs
    detectors = {each: Detector(run.checkpoint()) for each, run in present.items()}
    paths = [path for _, path in images_of(config_of(next(iter(present.values()))))[:_IMAGES]]
    found = measured({each.name: detectors[each] for each in present}, [read_image(path) for path in paths], rounds)
    for each, run in present.items():
        costs[each] = counted_costs(config_of(run), size) | found[each.name]
        content = json.dumps({name: dataclasses.asdict(cost) for name, cost in costs[each].items()}, indent=1)
        write_whole(work_dir / each.folder / COSTS_FILE, lambda file, text=content: file.write(text.encode()))
    return costs


def _stored(folder: Path) -> dict[str, Cost]:
    try:
        return {name: Cost(**cost) for name, cost in json.loads((folder / COSTS_FILE).read_bytes()).items()}
    except (OSError, ValueError, TypeError):
        return {}


def _with_seconds(costs: dict[str, Cost], runs: Sequence[Run]) -> dict[str, Cost]:
    """Return the costs with the mean time of a training."""
    seconds = [run.result()['seconds'] for run in runs if run.result() is not None]
    if not seconds:
        return costs
    how = f'mean of {len(seconds)}, including start and validations'
    return costs | dict(training_seconds=Cost(float(np.mean(seconds)), 's', how))


def _not_measured(results: Sequence[CandidateResult]) -> list[str]:
    """Return what is missing and why, one sentence each."""
    lines = []
    for each in results:
        lines += [f'{each.name}, seed {run.seed}: {run.failure}.' for run in each.runs if run.failure is not None]
        finished = [run for run in each.runs if run.failure is None]
        if finished and not each.costs.get('latency'):
            lines.append(f'{each.name}: no latency, since its checkpoints are missing.')
        if any(run.detections is None for run in finished):
            lines.append(f'{each.name}: detections were not kept, so the variance of the images is unknown.')
        if any(run.metrics.get('bbox_mAP') is None for run in finished):
            lines.append(f'{each.name}: nothing to measure, since there are no objects in val.')
    energy = next((each.costs['energy'] for each in results if 'energy' in each.costs), None)
    return lines + ([f'Energy: {energy.how}.'] if energy is not None and energy.value is None else [])
