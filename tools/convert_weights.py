"""Converts weights: python tools/convert_weights.py SRC DST --model NAME | --list [--model NAME]

SRC is a Darknet .weights or .conv.N, a Keras .h5, .weights.h5 or .keras, an ultralytics .pt, or a state dict of
torchvision, timm, MMDetection or mmcnn in .pth or .safetensors; which of them, its content says. NAME is a network of
the zoo or a config. DST ends in .pth or .safetensors: our names, with a record of where the weights came from inside.
--export writes back: .safetensors, or Darknet's .weights for the networks that Darknet has.
"""

import argparse

from mmcnn import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', nargs='?', metavar='SRC')
    parser.add_argument('target', nargs='?', metavar='DST')
    parser.add_argument('--model', metavar='NAME', help='network of the zoo or config; with --list: of which')
    parser.add_argument('--from', dest='world', metavar='WORLD', help='whose layer names SRC has, where it is doubtful')
    parser.add_argument('--num-classes', type=int, metavar='N', help="of SRC's head, where it is not the network's own")
    parser.add_argument('--export', action='store_true', help='DST may be a Darknet file (.weights), SRC one of ours')
    parser.add_argument('--list', action='store_true', help='the published weights that are known, and where they are')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.list:
        from mmcnn.weights import catalog

        print(catalog.as_text(args.model or ''))
        return
    for name, value in (('SRC', args.source), ('DST', args.target), ('--model', args.model)):
        if value is None:
            raise cli.UsageError(f'{name} is missing: tools/convert_weights.py SRC DST --model NAME, or --list')
    cli.at_least(1, args, 'num_classes')
    if args.target.endswith('.weights') and not args.export:
        raise cli.UsageError(f'{args.target} is a Darknet file: say --export, or end DST in .pth or .safetensors')

    from mmcnn.conversion import convert

    report, record = convert(args.source, args.target, args.model, args.world, args.num_classes)
    print(f'{args.target}: {report}')
    print(f'model {record.model}, activation {record.activation}, sha256 of {record.source} {record.sha256}')


if __name__ == '__main__':
    with cli.friendly_errors():
        main()
