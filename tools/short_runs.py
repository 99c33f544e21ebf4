"""Measures the AP after short trainings, with BatchNorm's running statistics and with recomputed ones.

Both belong to the same training, because its weights do not depend on the statistics. This program is for developers
of mmcnn and not installed with it; docs/benchmarks.md has the results.

  python tools/short_runs.py --data PATH --img-size 160 --lengths 3 10 30 --seeds 3
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmcnn.cli.arguments import add_options, options_from
from mmcnn.cli.errors import friendly_errors
from mmcnn.console import Console
from mmcnn.engine.bn_statistics_hook import BNStatisticsHook, averaged_weights
from mmcnn.runs.console_runner import runner_for
from mmcnn.runs.options import DataOptions, ModelOptions, Option, TrainOptions
from mmcnn.runs.prepare import prepare
from mmcnn.runs.process_state import kept_process_state

#: Score thresholds of boxes that count as seen and as sure.
SEEN, SURE = 0.25, 0.99


@dataclass(frozen=True, kw_only=True)
class ShortRunsOptions(DataOptions, ModelOptions):
    """Options of the measurement."""

    config: Annotated[str, Option('config of the detector (default: yolov5_n)', 'NAME')] = 'yolov5_n'
    seeds: Annotated[int, Option('trainings of each length (default: 3)', 'N', minimum=1)] = 3
    cache_gb: Annotated[float, Option('memory for decoded images, in 10^9 bytes (default: 1)', 'G', minimum=0)] = 1.0


class _AtTheEnd(Hook):
    """Evaluates the weights of the last step, averaged if there is an average, with both kinds of statistics."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.lines: list[str] = []

    def after_train(self, runner: Runner) -> None:
        self._evaluate(runner, 'running')
        runner.model.train()
        BNStatisticsHook(windows=float('inf')).after_train_epoch(runner)
        self._evaluate(runner, 'measured')

    @torch.no_grad()
    def _evaluate(self, runner: Runner, kind: str) -> None:
        with averaged_weights(runner):
            runner.model.eval()
            scores = []
            for batch in runner.val_dataloader:
                found = runner.model.val_step(batch)
                runner.val_evaluator.process(data_samples=found, data_batch=batch)
                scores += [each.pred_instances.scores for each in found]
            metrics = runner.val_evaluator.evaluate(len(runner.val_dataloader.dataset))
        seen, sure = (sum(int((each >= least).sum()) for each in scores) / len(scores) for least in (SEEN, SURE))
        ap, ap50 = metrics['coco/bbox_mAP'], metrics['coco/bbox_mAP_50']
        self.lines.append(
            f'{runner.iter} iterations, {kind} statistics: AP {ap:.3f}, AP50 {ap50:.3f}; boxes per image with a score '
            f'of at least {SEEN}: {seen:.1f}, of at least {SURE}: {sure:.1f}'
        )


def short_run(options: TrainOptions) -> list[str]:
    """Return two lines about a training that recomputes no statistics itself; its work dir is temporary."""
    without: dict[str, Any] = {
        'default_hooks.bn_statistics.windows': 0,
        'default_hooks.checkpoint.interval': options.epochs + 1,
        'train_cfg.val_begin': options.epochs + 1,
    }
    with tempfile.TemporaryDirectory() as folder, kept_process_state():
        cfg = prepare(replace(options, work_dir=folder, cfg_options={**options.cfg_options, **without})).cfg
        runner, hook = runner_for(Console()).from_cfg(cfg), _AtTheEnd()
        runner.register_hook(hook)
        runner.train()
        return hook.lines


def main() -> None:
    """Measure, and print two lines for each training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--lengths', type=int, nargs='+', default=[3, 10, 30], metavar='N', help='epochs of the runs')
    add_options(parser, ShortRunsOptions)
    args = parser.parse_args()
    with friendly_errors():
        own = options_from(args, ShortRunsOptions)
        names = {'config', 'cache_gb', *ModelOptions.__dataclass_fields__, *DataOptions.__dataclass_fields__}
        shared = {name: getattr(own, name) for name in names}
        for epochs in args.lengths:
            for seed in range(own.seeds):
                for line in short_run(TrainOptions(**shared, epochs=epochs, seed=seed, logger=('none',))):
                    print(f'{epochs} epochs, seed {seed}: {line}', flush=True)


if __name__ == '__main__':
    main()
