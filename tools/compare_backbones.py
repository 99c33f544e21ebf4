"""Trains several backbones in one detector: python tools/compare_backbones.py CONFIG --backbone A --backbone B ...

Each is trained by tools/train.py at the same budget, in D/BACKBONE/seed_S/. Leaves comparison.md, .json and .png (AP
against latency) in the work dir D. What is finished is not trained again, what was interrupted goes on; exit code 1 if
a run failed.
"""

import argparse
import sys
from pathlib import Path

from mmcnn import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--backbone', action='append', required=True, metavar='NAME', help='one to compare; repeated')
    cli.add_data_arguments(parser)
    cli.add_model_arguments(parser)
    parser.add_argument('--epochs', type=int, metavar='N')
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='the first one (0)')
    parser.add_argument('--seeds', type=int, default=1, metavar='K', help='trainings of each backbone (1)')
    parser.add_argument('--amp', action='store_true', help='mixed precision, on a GPU')
    parser.add_argument('--latency-runs', type=int, default=30, metavar='N', help='forward passes of each (30)')
    parser.add_argument('--work-dir', metavar='D', help='default: work_dirs/compare_CONFIG')
    parser.add_argument('--fresh', action='store_true', help='train all anew: deletes the runs that the work dir has')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    cli.at_least(1, args, 'epochs', 'batch_size', 'seeds', 'latency_runs')
    cli.at_least(0, args, 'workers', 'seed')
    cli.use_device(args.device)
    cfg = cli.load_config(args.config)
    if cli.is_classifier(cfg):
        raise cli.UsageError(f'{args.config} is a classifier; backbones are compared in a detector')

    from mmcnn import comparison, comparison_table

    names = list(dict.fromkeys(name.removeprefix('mmcnn.') for name in args.backbone))
    data = args.data if args.data in (None, 'demo') else str(Path(args.data).resolve())
    budget = dict(
        data=data, epochs=args.epochs, img_size=args.img_size, batch_size=args.batch_size, amp=args.amp,
        cfg_options=args.cfg_options, **(dict(skip_bad=True) if args.skip_bad else {}),
    )  # fmt: skip
    work_dir = Path(args.work_dir or Path('work_dirs') / f'compare_{Path(cfg.filename).stem}').resolve()
    seeds = range(args.seed, args.seed + args.seeds)
    runs = comparison.plan(cfg, names, seeds, work_dir, budget, workers=args.workers, device=args.device)
    # All that can be refused is refused before anything is trained.
    cli.set_data(cfg, args.data, skip_bad=args.skip_bad)
    cli.set_img_size(cfg, args.img_size)
    cli.set_amp(cfg, args.amp)
    size = comparison.check(cfg, names, args.cfg_options)
    for run in runs:
        run.discard() if args.fresh else run.refuse_others()

    comparison.train_all(runs)
    title = f'{" ".join([Path(cfg.filename).stem, *comparison.typed(budget)])}, seeds {", ".join(map(str, seeds))}'
    table = comparison_table.collect(runs, title, size, args.latency_runs)
    table.write(work_dir)
    print(f'{table.as_markdown()}\n\ncomparison.md, .json and .png are in {work_dir}')
    return 1 if any(row.failures for row in table.rows) else 0


if __name__ == '__main__':
    with cli.friendly_errors():
        sys.exit(main())
