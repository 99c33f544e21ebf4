"""Measures what the documentation claims.

nms       one class-wise NMS of 30,000 boxes, in pure PyTorch
step      seconds of a training step on the CPU (forward and backward, without the loss), median of 6
memory    a training step on the CPU with freed memory kept and handed back, in turn: medians and their ratio
loading   seconds that the weights of a checkpoint take to read, beside a bare torch.load, in turn: best of each
pipeline  images per second that one process prepares for training, beside MMDetection's mosaic, in turn
slope     growth of memory over many batches, of this process and its workers together
waiting   images per second of a training, drawn by the workers and by the device in turn, and the share of the time
          that is spent waiting for data
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mmcnn.cli.arguments import add_options, options_from
from mmcnn.runs.options import ModelOptions, Option, TrainOptions

if TYPE_CHECKING:
    from mmengine.config import Config

WHAT = ('nms', 'step', 'memory', 'loading', 'pipeline', 'slope', 'waiting')


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions(ModelOptions):
    """What a benchmark can be told."""

    config: Annotated[str, Option('config of the model (default: yolov4_cspdarknet53)', 'NAME')] = 'yolov4_cspdarknet53'
    img_size: Annotated[int, Option('side of the images, in pixels (default: 320)', 'N', minimum=1)] = 320
    batch_size: Annotated[int, Option('images per batch (default: 16)', 'N', minimum=1)] = 16
    runs: Annotated[int, Option('runs of each side (default: 3)', 'N', minimum=1)] = 3
    checkpoint: Annotated[
        str | None, Option('loading: the file (default: one that is written as a training of the config does)', 'PATH')
    ] = None
    keep_memory: Annotated[bool, Option('step: keep freed memory')] = False
    data: Annotated[
        str | None, Option('pipeline, slope, waiting: a data folder (default: drawn photographs)', 'PATH')
    ] = None
    cache_gb: Annotated[
        float, Option('pipeline, slope, waiting: memory for decoded images, in 10^9 bytes (default: 1)', 'G', minimum=0)
    ] = 1.0
    samples: Annotated[
        int, Option('pipeline: images of a run; waiting: iterations of a run (default: 100)', 'N', minimum=1)
    ] = 100
    batches: Annotated[int, Option('slope: number of batches (default: 2000)', 'N', minimum=1)] = 2000
    workers: Annotated[int, Option('slope, waiting: data-loading processes (default: 2)', 'N', minimum=0)] = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``mmcnn benchmark``."""
    parser.add_argument('what', choices=WHAT, metavar=f'{{{",".join(WHAT)}}}')
    add_options(parser, BenchmarkOptions)


def run(args: argparse.Namespace) -> int:
    """Measures and prints."""
    options = options_from(args, BenchmarkOptions)
    if args.what == 'nms':
        from mmcnn.benchmarks import nms

        for name, call in nms.sides().items():
            print(nms.report(name, *nms.measure(call, options.runs)))
    elif args.what == 'memory':
        from mmcnn.benchmarks import memory

        command = [sys.executable, '-m', 'mmcnn', 'benchmark', 'step', *sys.argv[sys.argv.index('memory') + 1 :]]
        print(memory.report(memory.measure(command, options.runs)))
    elif args.what == 'loading':
        print(_loading(options))
    elif args.what == 'step':
        print(_step_seconds(options))
    else:
        from mmcnn.benchmarks.pipeline import data_folder

        with data_folder(options.data) as folder:
            print({'pipeline': _pipeline, 'slope': _slope, 'waiting': _waiting}[args.what](options, folder))
    return 0


def _wired(options: BenchmarkOptions) -> Config:
    from mmcnn.config.load import load_config, merge_options, set_backbone
    from mmcnn.config.model import wire_model

    cfg = load_config(options.config)
    set_backbone(cfg, options.backbone, options.cfg_options)
    merge_options(cfg, options.cfg_options)
    wire_model(cfg)
    return cfg


def _loading(options: BenchmarkOptions) -> str:
    from mmcnn.benchmarks import loading

    with tempfile.TemporaryDirectory() as folder:
        path = Path(options.checkpoint or f'{folder}/{options.config}.pth')
        if options.checkpoint is None:
            loading.write_checkpoint(_wired(options), path)
        return loading.report(path, loading.measure(loading.sides(path), options.runs))


def _step_seconds(options: BenchmarkOptions) -> float:
    from mmcnn.benchmarks import step
    from mmcnn.runs.device import use_device

    cfg = _wired(options)
    if options.keep_memory:
        use_device('cpu')
    return step.measure(cfg, options.batch_size, options.img_size)


def _pipeline(options: BenchmarkOptions, folder) -> str:
    from mmcnn.benchmarks import pipeline

    calls = pipeline.sides(folder, options.img_size, options.cache_gb)
    return pipeline.report(pipeline.images_a_second(calls, options.samples, options.runs))


def _slope(options: BenchmarkOptions, folder) -> str:
    from mmcnn.benchmarks import memory_slope

    loader = memory_slope.training_loader(
        folder, options.img_size, options.batch_size, options.workers, options.cache_gb
    )
    return memory_slope.report(*memory_slope.measure(loader, options.batches))


def _waiting(options: BenchmarkOptions, folder) -> str:
    from mmcnn.benchmarks import waiting

    training = TrainOptions(
        config=options.config, backbone=options.backbone, cfg_options=options.cfg_options, device=options.device,
        data=folder.root, img_size=options.img_size, batch_size=options.batch_size, workers=options.workers,
        cache_gb=options.cache_gb,
    )  # fmt: skip
    return waiting.report(waiting.sides(training, options.samples, options.runs))
