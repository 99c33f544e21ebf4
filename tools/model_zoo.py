"""The table of all networks: python tools/model_zoo.py [show NAME | costs | --matrix] [options]

table    all networks: parameters against the reference table, multiply-adds, memory accesses, levels (default)
show     one network, stage by stage
costs    what the costs of networks show (docs/costs.md), as Markdown
--matrix networks by detectors: which pairs build and run, in full size and without memory (all: some minutes)

The table ends with exit code 1 if a row of the reference table is not met exactly, the matrix if a pair fails for
another reason than a level that the network has not.
"""

import argparse
import sys
from fnmatch import fnmatchcase

from mmcnn import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', nargs='?', choices=['table', 'show', 'costs'], default='table')
    parser.add_argument('name', nargs='?', metavar='NAME', help='of show')
    parser.add_argument('--filter', default='*', metavar='GLOB', help='only networks whose name matches')
    parser.add_argument('--sort', default='name', metavar='COLUMN', help='name, or largest first: size, total, ...')
    parser.add_argument(
        '--img-size', type=int, metavar='N', help="side of the image (default: each network's own; of the matrix 640)"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument('--json', action='store_true', help='all numbers')
    form.add_argument('--markdown', action='store_true', help='as in the README')
    form.add_argument('--matrix', action='store_true', help='networks by detectors instead')
    form.add_argument('--into', metavar='FILE', help='write the Markdown between the marks in this file')
    parser.add_argument('--plot', metavar='PNG', help='also draw parameters against multiply-adds')
    return parser.parse_args()


def table(args: argparse.Namespace) -> int:
    """Gives the table in the form asked for; 1 if a reference row is off, else 0."""
    from mmcnn.models import zoo_plot, zoo_table
    from mmcnn.models.reference_table import REFERENCE
    from mmcnn.registry import nearest

    names = chosen(args)
    if args.sort not in zoo_table.SORT_COLUMNS:
        raise cli.UsageError(f"--sort '{args.sort}': {nearest(args.sort, zoo_table.SORT_COLUMNS)}")
    networks = zoo_table.ordered([zoo_table.describe(name, args.img_size) for name in names], args.sort)
    exact, line = zoo_table.verdict(networks, [name for name in REFERENCE if fnmatchcase(name, args.filter)])
    if args.into:
        cli.write_between_marks(args.into, 'zoo', zoo_table.as_markdown(networks))
    else:
        form = zoo_table.as_json if args.json else zoo_table.as_markdown if args.markdown else zoo_table.as_text
        print(form(networks))
    if args.plot:
        zoo_plot.plot(networks, args.plot)
    print(line, file=sys.stderr if args.json or args.markdown else sys.stdout)
    return 0 if exact else 1


def chosen(args: argparse.Namespace) -> list[str]:
    """Names of the networks that ``--filter`` fits."""
    import mmcnn
    from mmcnn.registry import nearest

    names = mmcnn.list_backbones(args.filter)
    if not names:
        known = nearest(args.filter, mmcnn.list_backbones())
        raise cli.UsageError(f"--filter '{args.filter}' fits no network; {known}")
    return names


def pairs(args: argparse.Namespace) -> int:
    """Prints networks by detectors; 1 if a pair fails for another reason than a missing level, else 0."""
    from mmcnn import matrix

    tried = matrix.try_pairs(chosen(args), args.img_size or 640)
    print(matrix.as_text(tried))
    return int(any(pair.failed for pair in tried))


def show(args: argparse.Namespace) -> int:
    import mmcnn
    from mmcnn.models import zoo_table
    from mmcnn.registry import nearest

    names = mmcnn.list_backbones()
    if args.name is None:
        raise cli.UsageError('show needs the name of a network: tools/model_zoo.py show NAME')
    if args.name not in names:
        raise cli.UsageError(f"no network is called '{args.name}'; {nearest(args.name, names)}")
    print(zoo_table.stages_as_text(zoo_table.stage_lines(args.name, args.img_size)))
    return 0


def costs(args: argparse.Namespace) -> int:
    from mmcnn.models import cost_study

    if args.into:
        cli.write_between_marks(args.into, 'costs', cost_study.report())
    else:
        print(cost_study.report())
    return 0


def main() -> int:
    args = parse_args()
    cli.at_least(32, args, 'img_size')
    if args.matrix and (args.what, args.sort, args.plot) != ('table', 'name', None):
        raise cli.UsageError('--matrix goes with --filter and --img-size only')
    return pairs(args) if args.matrix else dict(table=table, show=show, costs=costs)[args.what](args)


if __name__ == '__main__':
    with cli.friendly_errors():
        sys.exit(main())
