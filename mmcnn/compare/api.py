"""``mmcnn.compare_backbones``: a comparison from its options to its files, the one place that knows the order."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmcnn.compare import budgets, trainings
from mmcnn.compare.analysis import analysed
from mmcnn.compare.candidates import Candidate, candidates, widened
from mmcnn.compare.collect import annotations_of, collect, images_folder_of
from mmcnn.compare.executors import run_trainings
from mmcnn.compare.options import EPOCHS, MACS, CompareOptions
from mmcnn.compare.page.writing import write_comparison_page
from mmcnn.compare.results import Comparison
from mmcnn.compare.run import Run, typed
from mmcnn.compare.table import Row, as_markdown, old_rows
from mmcnn.compare.widths import fitted_width
from mmcnn.config.entries import merge_options
from mmcnn.config.load import load_config
from mmcnn.config.model import is_classifier
from mmcnn.errors import UsageError
from mmcnn.models.wiring import set_num_classes
from mmcnn.plots.comparison import plot_comparison
from mmcnn.runs.api import takes
from mmcnn.runs.options import TrainOptions
from mmcnn.runs.run_lock import refuse_live
from mmcnn.weights.own_modules import import_modules

#: Takes a sentence for the user.
Say = Callable[[str], object]
#: Folder of the trainings that only measure the time of an epoch, below that of the comparison.
TIMING = 'timing'
#: The trainings of a comparison with a budget, next to its runs.
PLAN = 'budget.json'


@takes(CompareOptions, 'config')
def compare_backbones(options: CompareOptions) -> Comparison:
    """Train several backbones in one detector at the same budget, as ``mmcnn compare`` does, and compare them.

    ``mmcnn.compare_backbones('yolov5_n', backbones=['vovnet39', 'mobilenetv2'], data='bccd', seeds=3).pairs`` says for
    each pair which is better and by how much, or that the data do not tell. Finished runs are not repeated and
    interrupted ones are resumed. It writes comparison.html, .json, .csv, .md and .png to the work dir.

    Raises:
        MmcnnError: an option, the data or a file is invalid; a failed training is recorded and does not affect the
            others.
    """
    return compare(options)[0]


def compare(options: CompareOptions, say: Say = print) -> tuple[Comparison, Path]:
    """Return a comparison from its options, and its folder; :func:`compare_backbones` returns only the first.

    Args:
        options: options of the comparison.
        say: takes messages.
    """
    made = plan(options, say)
    train = partial(_train, options, made.work_dir)
    with trainings.locked(made.work_dir):
        _make_room(made.runs, options)
        outcome = budgets.Outcome({}, options.seeds)
        if options.budget is None:
            train(made.runs)
        else:
            file = made.work_dir / PLAN
            if options.fresh:
                file.unlink(missing_ok=True)
            epochs = made.cfg.train_cfg.max_epochs if options.epochs is None else options.epochs
            outcome = budgets.train_within(options.budget * options.jobs, made.runs, epochs, train, file, say)
        found = _collected(made, outcome)
        write(found, made.work_dir, *_validation(made.runs))
        for each in made.runs if options.drop_checkpoints else ():
            each.drop_checkpoints()
    return found, made.work_dir


def write(
    comparison: Comparison, folder: Path, annotations: dict[str, Any] | None = None, images: Path | None = None
) -> None:
    """Write ``comparison.html``, ``.csv``, ``.json``, ``.md`` and, unless all failed, ``.png``.

    Args:
        comparison: the comparison.
        folder: folder for the files, which contains the runs' detections.
        annotations: annotations of val, a COCO dict; None: no images are shown.
        images: the folder that its file names are relative to.
    """
    (folder / 'comparison.md').write_text(as_markdown(comparison) + '\n', encoding='utf-8')
    content = json.dumps(json.loads(comparison.as_json()) | old_rows(comparison), indent=1)
    (folder / 'comparison.json').write_text(content + '\n', encoding='utf-8')
    write_comparison_page(comparison, folder, annotations, images)
    rows = [Row.of(each) for each in comparison.candidates]
    if finished := [row for row in rows if row.AP and None not in row.AP and row.latency_ms is not None]:
        plot_comparison(finished, comparison.title, folder / 'comparison.png')


def _train(options: CompareOptions, work_dir: Path, runs: Sequence[Run], until_epoch: int | None = None) -> None:
    run_trainings(runs, options, work_dir, until_epoch)


def _make_room(runs: Sequence[Run], options: CompareOptions) -> None:
    """Delete runs that are to be repeated, and raise an error for those with other settings or in progress."""
    for each in runs:
        refuse_live(each.folder) if options.fresh else each.refuse_others()
    for each in runs if options.fresh else ():
        each.discard()


def _collected(made: Plan, outcome: budgets.Outcome) -> Comparison:
    """Return the results of the runs, with their analysis."""
    options = made.options
    blocks = list(dict.fromkeys(run.seeds_title for run in made.runs))
    within = blocks[: outcome.seeds]
    # Seeds for which there was no time have not failed.
    runs = [run for run in made.runs if run.seeds_title in within or run.result() is not None]
    seeds = ', '.join(within)
    budget = typed(made.budget)
    title = f'{" ".join([Path(made.cfg.filename).stem, *budget])}, seeds {seeds}'
    config = options.config if isinstance(options.config, str | Path) else made.cfg.filename
    command = shlex.join(['mmcnn', 'compare', str(config), *typed_comparison(options)])
    found = collect(runs, made.work_dir, made.size, options.latency_runs, title, command, outcome.dropped)
    if late := blocks[outcome.seeds :]:
        sentence = f'Not trained, since the budget does not allow more seeds: {", ".join(late)}.'
        found = dataclasses.replace(found, not_measured=[*found.not_measured, sentence])
    annotations = next((annotations_of(run) for run in runs if run.result() is not None), None)
    return analysed(found, made.work_dir, annotations)


def _validation(runs: Sequence[Run]) -> tuple[dict[str, Any] | None, Path | None]:
    """Return the annotations of val and the folder of its images; None: nothing was trained."""
    run = next((run for run in runs if run.result() is not None), None)
    if run is None:
        return None, None
    return json.loads(annotations_of(run).read_bytes()), images_folder_of(run)


def work_dir_of(options: CompareOptions, cfg: Config) -> Path:
    """Return the folder of a comparison."""
    return Path(options.work_dir or Path('work_dirs') / f'compare_{Path(cfg.filename).stem}').resolve()


def typed_comparison(options: CompareOptions) -> list[str]:
    """Return the options of a comparison as they are typed, without those that were not given."""
    words = [word for name in options.backbones for word in ('--backbone', name)]
    defaults = {field.name: field.default for field in dataclasses.fields(CompareOptions)}
    for name in ('weights', 'fraction'):
        if getattr(options, name):
            words += [f'--{name}', ','.join(map(str, getattr(options, name)))]
    given = {
        name: getattr(options, name)
        for name in defaults
        if name not in ('config', 'backbones', 'weights', 'fraction', 'fresh')
        and getattr(options, name) != defaults[name]
    }
    return words + typed(given)


@dataclasses.dataclass(frozen=True)
class Plan:
    """A comparison that can start: everything has been checked.

    Attributes:
        options: its options.
        cfg: config of the detector, as it was loaded.
        budget: options of each training that affect its result.
        candidates: the candidates, each with its width and epochs.
        runs: the trainings.
        size: width and height of the test images, pixels.
        work_dir: its folder.
    """

    options: CompareOptions
    cfg: Config
    budget: dict[str, Any]
    candidates: list[Candidate]
    runs: list[Run]
    size: tuple[int, int]
    work_dir: Path


def plan(options: CompareOptions, say: Say = print) -> Plan:
    """Determine what to train, and check everything before the first training.

    Args:
        options: options of the comparison.
        say: takes messages.

    Raises:
        MmcnnError: an option, the data or a file is invalid, or a run in the folder is in progress.
    """
    import_modules(options.imports)
    cfg = load_config(options.config)
    if is_classifier(cfg):
        raise UsageError(f'{options.config} is a classifier; backbones can only be compared in a detector')
    work_dir = work_dir_of(options, cfg)
    refuse_live(work_dir)
    several = candidates(options.backbones, options.weights, options.fraction)
    data = options.data if options.data in (None, 'demo') else str(Path(options.data).resolve())
    budget = options.training() | dict(data=data)
    other = dict(workers=options.workers, device=options.device, imports=options.imports, cache_gb=options.cache_gb)
    seeds = trainings.seeds_of(options)
    checked = trainings.check(TrainOptions(config=cfg, seed=options.seed, **budget, **other), several)
    size = checked.size
    trained = partial(_as_trained, cfg=cfg, options=options, classes=checked.num_classes)
    if options.macs is not None:
        several = _at_equal_width(several, trained, options.macs, size, say)
    if checked.classes:
        trainings.refuse_unfit_weights(several, trained, checked.classes)
    if options.equal != EPOCHS:
        epochs = cfg.train_cfg.max_epochs if options.epochs is None else options.epochs
        if options.equal == MACS:
            several = budgets.with_equal_macs(several, [*map(trained, several)], epochs, size)
        else:
            timing = trainings.plan(cfg, several, seeds[:1], work_dir / TIMING, budget, **other)
            with trainings.locked(work_dir):
                _make_room(timing, options)
                run_trainings(timing, options, work_dir, until_epoch=1)
            several = budgets.with_equal_seconds(several, timing, epochs)
        for each in several:
            say(f'{each.name}: {each.epochs} epochs')
    runs = trainings.plan(cfg, several, seeds, work_dir, budget, **other)
    return Plan(options, cfg, budget, several, runs, size, work_dir)


def _as_trained(candidate: Candidate, cfg: Config, options: CompareOptions, classes: set[int]) -> Config:
    """Return the config of a candidate with the classes of the data and the given options of its network."""
    changed = candidate.config(cfg)
    for number in classes:
        set_num_classes(changed.model, number)
    merge_options(changed, options.cfg_options, lambda note: None)
    return changed


def _at_equal_width(
    several: Sequence[Candidate],
    trained: Callable[[Candidate], Config],
    macs: float,
    size: tuple[int, int],
    say: Say,
) -> list[Candidate]:
    """Return the candidates at the widths where their detectors, as trained, need that many multiply-adds."""
    found = []
    widths: dict[str, float] = {}
    for each in several:
        if each.backbone not in widths:
            width = fitted_width(trained(each), macs, size)
            widths[each.backbone] = width.factor
            say(f'{each.backbone}: widen_factor={width.factor:.4g}, {width.multiply_adds / 1e9:.3g} G multiply-adds')
        found.append(widened(each, widths[each.backbone]))
    return found
