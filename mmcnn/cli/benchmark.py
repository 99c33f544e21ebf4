"""Measures mmcnn and its peers alternately, and prints the ratios."""

from __future__ import annotations

import argparse
import importlib
import platform
import shlex
import sys
from typing import Any

from mmcnn.benchmarks import options as classes
from mmcnn.cli.arguments import add_options, check_png, options_from
from mmcnn.errors import UsageError

#: Every benchmark: its module in mmcnn.benchmarks, its options and its line in ``mmcnn benchmark --help``.
KINDS = {
    'nms': ('nms', classes.BenchmarkOptions, 'class-wise NMS of 30,000 boxes in pure PyTorch'),
    'deform': (
        'deform_conv',
        classes.BenchmarkOptions,
        "a deformable convolution, compared with torchvision's operator and a plain one",
    ),
    'backbone': (
        'backbone',
        classes.BackboneOptions,
        "networks with BatchNorm folded, compared with timm's and torchvision's",
    ),
    'step': ('step', classes.StepOptions, "the parts of a training step on the CPU, compared with MMDetection's"),
    'validation': (
        'validation',
        classes.ValidationOptions,
        "the parts of a validation on the CPU and their share of an epoch, compared with MMDetection's",
    ),
    'passes': ('passes', classes.PassesOptions, 'forward and backward passes on the CPU, without the loss'),
    'train': (
        'train',
        classes.TrainBenchmarkOptions,
        "whole trainings, compared with MMDetection's and your own programs",
    ),
    'memory': ('memory', classes.PassesOptions, 'the same passes with freed memory kept or returned to the system'),
    'infer': (
        'infer',
        classes.InferBenchmarkOptions,
        "a detector on a folder, compared with its network alone and MMDetection's",
    ),
    'start': ('start', classes.StartOptions, 'the start of programs, compared with import torch, cv2'),
    'loading': ('loading', classes.LoadingOptions, 'loading the weights of a checkpoint, compared with torch.load'),
    'pipeline': (
        'pipeline',
        classes.PipelineOptions,
        "preparing images for training, compared with MMDetection's mosaic",
    ),
    'evaluate': ('evaluate', classes.EvaluateOptions, 'the COCO evaluation of 5,000 images, compared with pycocotools'),
    'check': ('check', classes.CheckOptions, 'the check of a data folder, compared with decoding its images'),
    'scale': (
        'scale',
        classes.ScaleOptions,
        'the memory, start and messages of many ranks on one machine with annotations of the size of COCO',
    ),
    'export': ('export', classes.ExportBenchmarkOptions, 'one image in exported files, compared with PyTorch'),
}
#: Benchmarks that use /proc, the times of child processes or signals that pause them.
ON_LINUX = ('check', 'scale', 'start', 'train')
#: Benchmarks of release 0.1 that moved, and the programs that replace them.
PROGRAMS = {'slope': 'tools/memory_slope.py', 'waiting': 'tools/gpu_check.py'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmcnn benchmark``."""
    kinds = parser.add_subparsers(dest='what', metavar='WHAT', required=True, parser_class=type(parser))
    for name, (_, options, text) in KINDS.items():
        kind = kinds.add_parser(name, help=text, description=f'Measures {text}.')
        if name == 'export':
            kind.add_argument('source', metavar='SOURCE', nargs='?', help='checkpoint, network or config')
        if name == 'backbone':
            kind.add_argument(
                'names', metavar='NAME', nargs='*', help='classifiers (default: one of each of 12 families)'
            )
        add_options(kind, options)
    for name in PROGRAMS:
        # Without prefix characters, everything after the name is an argument.
        kinds.add_parser(name, prefix_chars='\0', add_help=False).add_argument(name, nargs='*', action=_Moved)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    if args.what in ON_LINUX and platform.system() != 'Linux':
        raise UsageError(f'mmcnn benchmark {args.what} only runs on Linux, not on {platform.system()}')
    module, kind, text = KINDS[args.what]
    fixed = dict(source=args.source) if args.what == 'export' else {}
    if args.what == 'backbone' and args.names:
        fixed = dict(names=tuple(args.names))
    options = options_from(args, kind, **fixed)
    check_png(options.plot)
    if getattr(options, 'imports', None):
        from mmcnn.weights.own_modules import import_modules

        import_modules(options.imports)
    from mmcnn.benchmarks import comparison

    found = importlib.import_module(f'mmcnn.benchmarks.{module}').measure(options, print)
    print(comparison.report(found))
    if options.json:
        comparison.write_json(options.json, args.what, shlex.join(['mmcnn', 'benchmark', *_typed()]), found)
    if options.plot:
        comparison.plot(options.plot, text, found)
    return 0


class _Moved(argparse.Action):
    """Names the program that replaces a benchmark."""

    def __call__(self, parser: argparse.ArgumentParser, *args: Any) -> None:
        parser.error(
            f'{self.dest} has become a program in the source repository of mmcnn: python {PROGRAMS[self.dest]} --help '
            'describes it'
        )


def _typed() -> list[str]:
    """Return what was typed after ``benchmark``."""
    return sys.argv[sys.argv.index('benchmark') + 1 :] if 'benchmark' in sys.argv else sys.argv[1:]
