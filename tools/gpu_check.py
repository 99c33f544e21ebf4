"""Checks and measures mmcnn on a GPU in stages that share a time limit; needs no network, weights or installation.

Stages: card (its peak rates), parity (losses and gradients compared with the CPU in float64), operators (NMS, RoIAlign,
focal loss, renderer), determinism (the same training twice, and killed and resumed), speed, latency, compiled. Every
result is written to --out at once, and a failing measurement does not stop the others. --train runs alone.

  python tools/gpu_check.py --stages speed --only yolov5_s --minutes 3
  python tools/gpu_check.py --train PATH --minutes 5
"""

from __future__ import annotations

import argparse
import contextlib
import signal
from collections.abc import Iterator
from typing import NoReturn

from mmcnn.benchmarks.gpu.options import GpuCheckOptions
from mmcnn.cli.arguments import add_options, options_from
from mmcnn.cli.errors import friendly_errors
from mmcnn.errors import StoppedError


@contextlib.contextmanager
def _stopped_by_signals(options: GpuCheckOptions) -> Iterator[None]:
    """Let a time limit and Ctrl-C end the check in order, without leaving processes or drawn data."""

    def stop(signum: int, frame: object) -> NoReturn:
        raise StoppedError(
            f'stopped by {signal.Signals(signum).name}; the results so far are in {options.out}; --table {options.out} '
            'prints them',
            signum,
        )

    before = {signum: signal.signal(signum, stop) for signum in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, GpuCheckOptions)
    with friendly_errors():
        options = options_from(parser.parse_args(), GpuCheckOptions)
        from mmcnn.benchmarks.gpu.check import check
        from mmcnn.benchmarks.gpu.results import read_results
        from mmcnn.benchmarks.gpu.stages import measurements, of_training
        from mmcnn.benchmarks.gpu.table import tables

        if options.table is not None:
            print(tables(read_results(options.table)))
            return
        chosen = measurements() if options.train is None else of_training(options.train, options.config)
        with _stopped_by_signals(options):
            results = check(options, chosen, lambda line: print(line, flush=True))
        print(f'\n{tables(results.content)}\n\n{results.path} has all results.')


if __name__ == '__main__':
    main()
