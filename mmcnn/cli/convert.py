"""Converts weights of other libraries to mmcnn's names, or lists the published weights that mmcnn knows.

  mmcnn convert SRC DST --model NAME
  mmcnn convert --list [--model NAME]

SRC is one of
  Darknet        a .weights file, also one cut off after N layers (.conv.N)
  Keras          a .h5, .weights.h5 or .keras file of keras.applications
  ultralytics    a YOLOv5 .pt file
  torchvision, timm, MMDetection, mmcnn
                 a state dict or checkpoint, .pth or .safetensors
and is recognised by its content, not by its name. NAME is a network (mmcnn zoo) or a config (mmcnn configs).
DST ends in .pth or .safetensors and gets a record of the origin of the weights. With --export, DST may also end in
.weights, for networks that Darknet has.
"""

from __future__ import annotations

import argparse

from mmcnn.cli.arguments import add_options, options_from
from mmcnn.errors import UsageError
from mmcnn.runs.options import ImportOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmcnn convert``."""
    parser.add_argument('source', nargs='?', metavar='SRC', help='the file to convert')
    parser.add_argument('target', nargs='?', metavar='DST', help='the file to write')
    parser.add_argument(
        '--model', metavar='NAME', help='network or config of the weights; with --list: show only its weights'
    )
    parser.add_argument(
        '--from',
        dest='library',
        metavar='LIBRARY',
        help='library that SRC comes from, if its names are ambiguous: darknet, keras, torchvision, timm, mmdet, '
        'ultralytics or mmcnn',
    )
    parser.add_argument(
        '--num-classes', type=int, metavar='N', help="number of classes of SRC's head, if it differs from the network's"
    )
    parser.add_argument('--export', action='store_true', help='allow a Darknet .weights file as DST')
    parser.add_argument(
        '--list', action='store_true', help='list the published weights: names, addresses, licences and hashes'
    )
    add_options(parser, ImportOptions)


def run(args: argparse.Namespace) -> int:
    """Convert a file, or list the published weights.

    Raises:
        UsageError: an argument is missing or invalid.
        CheckpointError: the file does not fit the network, or cannot be read or written.
    """
    if args.list:
        if args.source is not None:
            raise UsageError(f"'{args.source}': with --list, give the name of a network as --model {args.source}")
        from mmcnn.weights.sources import catalog

        print(catalog.as_text(args.model or ''))
        return 0
    for name, value in (('SRC', args.source), ('DST', args.target), ('--model', args.model)):
        if value is None:
            raise UsageError(f'{name} is missing; use mmcnn convert SRC DST --model NAME, or --list')
    if args.num_classes is not None and args.num_classes < 1:
        raise UsageError(f'--num-classes {args.num_classes}: the value must be at least 1')
    if args.target.endswith('.weights') and not args.export:
        raise UsageError(f'{args.target} is a Darknet file; add --export, or use the suffix .pth or .safetensors')

    from mmcnn.runs.convert import convert

    imports = options_from(args, ImportOptions).imports
    report, record = convert(args.source, args.target, args.model, args.library, args.num_classes, imports=imports)
    print(f'{args.target}: {report}')
    print(f'model {record.model}, activation {record.activation}, sha256 of {record.source} {record.sha256}')
    return 0
