"""Trains several backbones in one detector at the same budget, and compares them.

Each is trained by mmcnn train in a process of its own, in DIR/BACKBONE/seed_S/. Leaves comparison.md, comparison.json
and comparison.png (AP against latency) in DIR. Finished runs are not trained again and interrupted ones are continued.
The exit code is 1 if a run failed.

  mmcnn compare yolov4_cspdarknet53_narrow --data PATH --epochs 30 --backbone mobilenetv2 --backbone vovnet39 --seeds 3
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Annotated

from mmcnn.cli.arguments import add_config, add_options, options_from
from mmcnn.errors import UsageError
from mmcnn.runs.options import AMP, AMP_HELP, DataOptions, ModelOptions, Option, TrainOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareOptions(DataOptions, ModelOptions):
    """A comparison: the budget of each training, and how many there are."""

    epochs: Annotated[int | None, Option('length of each training', 'N', minimum=1)] = None
    seed: Annotated[int, Option('the first random seed (default: 0)', 'N', minimum=0)] = 0
    seeds: Annotated[int, Option('trainings of each backbone, with consecutive seeds (default: 1)', 'K', minimum=1)] = 1
    amp: Annotated[bool | str | None, Option(AMP_HELP, '|'.join(AMP), choices=AMP)] = None
    latency_runs: Annotated[int, Option('forward passes to time for each network (default: 30)', 'N', minimum=1)] = 30
    work_dir: Annotated[str | None, Option('folder for the runs (default: work_dirs/compare_CONFIG)', 'DIR')] = None
    fresh: Annotated[bool, Option('train everything anew; deletes the runs in DIR')] = False


#: Options of each training that its result depends on.
BUDGET = (
    *(each.name for each in dataclasses.fields(DataOptions) if each.name != 'workers'),
    'epochs',
    'amp',
    'cfg_options',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``mmcnn compare``."""
    add_config(parser)
    parser.add_argument(
        '--backbone', dest='backbones', action='append', required=True, metavar='NAME',
        help='a backbone to compare; give the option once for each',
    )  # fmt: skip
    add_options(parser, CompareOptions, leave_out=('backbone',))


def run(args: argparse.Namespace) -> int:
    """Compares; 1 if a run failed."""
    options = options_from(args, CompareOptions)

    from mmcnn.compare import trainings
    from mmcnn.compare.table import collect
    from mmcnn.config.load import load_config
    from mmcnn.config.model import is_classifier
    from mmcnn.runs.run_lock import refuse_live
    from mmcnn.weights.own_modules import import_modules

    import_modules(options.imports)
    cfg = load_config(args.config)
    if is_classifier(cfg):
        raise UsageError(f'{args.config} is a classifier; backbones are compared in a detector')
    names = list(dict.fromkeys(name.removeprefix('mmcnn.') for name in args.backbones))
    data = options.data if options.data in (None, 'demo') else str(Path(options.data).resolve())
    budget = {name: getattr(options, name) for name in BUDGET} | dict(data=data)
    other = dict(workers=options.workers, device=options.device, imports=options.imports)
    work_dir = Path(options.work_dir or Path('work_dirs') / f'compare_{Path(cfg.filename).stem}').resolve()
    seeds = range(options.seed, options.seed + options.seeds)
    # All that can be refused is refused before anything is trained.
    refuse_live(work_dir)
    runs = trainings.plan(cfg, names, seeds, work_dir, budget, **other)
    size = trainings.check(TrainOptions(config=cfg, seed=options.seed, **budget, **other), names)
    with trainings.locked(work_dir):
        for each in runs:
            refuse_live(each.folder) if options.fresh else each.refuse_others()
        for each in runs if options.fresh else ():
            each.discard()

        trainings.train_all(runs)
        title = f'{" ".join([Path(cfg.filename).stem, *trainings.typed(budget)])}, seeds {", ".join(map(str, seeds))}'
        table = collect(runs, title, size, options.latency_runs)
        table.write(work_dir)
    files = 'comparison.md, .json and .png' if table.measured_rows() else 'comparison.md and .json'
    print(f'{table.as_markdown()}\n\n{files} are in {work_dir}')
    return 1 if any(row.failures for row in table.rows) else 0
