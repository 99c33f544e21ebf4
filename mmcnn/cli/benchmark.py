"""Measures what the documentation claims.

nms       one class-wise NMS of 30,000 boxes, in pure PyTorch
deform    CPU time of a deformable convolution, beside a plain one and torchvision's operator where it loads
step      seconds of a training step on the CPU (forward and backward, without the loss), median of 6
memory    a training step on the CPU with freed memory kept and handed back, in turn: medians and their ratio
loading   seconds that the weights of a checkpoint take to read, beside a bare torch.load, in turn: best of each
pipeline  images per second that one process prepares for training, beside MMDetection's mosaic, in turn
export    CPU time of one image, one thread, in exported files beside PyTorch, in turn; SOURCE as in mmcnn export
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mmcnn.cli.arguments import add_options, options_from
from mmcnn.errors import UsageError
from mmcnn.runs.options import ModelOptions, Option

if TYPE_CHECKING:
    from mmengine.config import Config

    from mmcnn.deployment.options import ExportOptions

WHAT = ('nms', 'deform', 'step', 'memory', 'loading', 'pipeline', 'export')
#: What was measured here up to release 0.1, and the program that does it now.
PROGRAMS = {'slope': 'tools/memory_slope.py', 'waiting': 'tools/gpu_check.py'}


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
        str | None,
        Option(
            'pipeline: a data folder (default: drawn photographs). export: one on whose images int8 is calibrated '
            '(default: int8 is left out)',
            'PATH',
        ),
    ] = None
    cache_gb: Annotated[
        float, Option('pipeline: memory for decoded images, in 10^9 bytes (default: 1)', 'G', minimum=0)
    ] = 1.0
    samples: Annotated[int, Option('pipeline: images of a run (default: 100)', 'N', minimum=1)] = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``mmcnn benchmark``."""
    parser.add_argument('what', type=_still_here, choices=WHAT, metavar=f'{{{",".join(WHAT)}}}')
    parser.add_argument('source', metavar='SOURCE', nargs='?', help='export: a checkpoint, network or config')
    add_options(parser, BenchmarkOptions)


def run(args: argparse.Namespace) -> int:
    """Measures and prints."""
    options = options_from(args, BenchmarkOptions)
    if args.source is not None and args.what != 'export':
        raise UsageError(f"'{args.source}': only mmcnn benchmark export takes a SOURCE; --config names the model")
    if options.imports:
        from mmcnn.weights.own_modules import import_modules

        import_modules(options.imports)
    if args.what == 'nms':
        from mmcnn.benchmarks import nms

        for name, call in nms.sides().items():
            print(nms.report(name, *nms.measure(call, options.runs)))
    elif args.what == 'deform':
        from mmcnn.benchmarks import deform_conv

        for name, side in deform_conv.sides().items():
            print(deform_conv.report(name, deform_conv.measure(side, options.runs)))
    elif args.what == 'memory':
        from mmcnn.benchmarks import memory

        command = [sys.executable, '-m', 'mmcnn', 'benchmark', 'step', *sys.argv[sys.argv.index('memory') + 1 :]]
        print(memory.report(memory.measure(command, options.runs)))
    elif args.what == 'loading':
        print(_loading(options))
    elif args.what == 'export':
        from mmcnn.benchmarks import export

        print(export.report(export.measure(_export_options(options, args.source), options.runs)))
    elif args.what == 'step':
        print(_step_seconds(options))
    else:
        from mmcnn.benchmarks import pipeline

        with pipeline.data_folder(options.data) as folder:
            calls = pipeline.sides(folder, options.img_size, options.cache_gb)
            print(pipeline.report(pipeline.images_a_second(calls, options.samples, options.runs)))
    return 0


def _still_here(what: str) -> str:
    if what in PROGRAMS:
        raise argparse.ArgumentTypeError(
            f'{what} has become a program in the source repository of mmcnn: python {PROGRAMS[what]} --help '
            'describes it'
        )
    return what


def _wired(options: BenchmarkOptions) -> Config:
    from mmcnn.config.entries import merge_options
    from mmcnn.config.load import load_config, set_backbone
    from mmcnn.config.model import wire_model

    cfg = load_config(options.config)
    set_backbone(cfg, options.backbone, options.cfg_options)
    merge_options(cfg, options.cfg_options)
    wire_model(cfg)
    return cfg


def _export_options(options: BenchmarkOptions, source: str | None) -> ExportOptions:
    from mmcnn.deployment.options import ExportOptions

    return ExportOptions(
        source=source or options.config,
        img_size=options.img_size,
        data=options.data,
        backbone=options.backbone,
        cfg_options=options.cfg_options,
        imports=options.imports,
    )


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
