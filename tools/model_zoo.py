"""The table of all networks: python tools/model_zoo.py [show NAME | costs] [options]

table    all networks: parameters against the reference table, multiply-adds, memory accesses, levels (default)
show     one network, stage by stage
costs    what the costs of networks show (docs/costs.md), as Markdown

The table ends with exit code 1 if a row of the reference table is not met exactly.
"""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from mmcnn import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', nargs='?', choices=['table', 'show', 'costs'], default='table')
    parser.add_argument('name', nargs='?', metavar='NAME', help='of show')
    parser.add_argument('--filter', metavar='GLOB', help='only networks whose name matches')
    parser.add_argument('--sort', metavar='COLUMN', help='name (default), or largest first: size, total, ...')
    parser.add_argument('--img-size', type=int, metavar='N', help="side of the image (default: each network's own)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument('--json', action='store_true', help='all numbers')
    form.add_argument('--markdown', action='store_true', help='as in the README')
    form.add_argument('--matrix', action='store_true', help='networks by detectors instead, tried at --img-size (640)')
    form.add_argument('--into', metavar='FILE', help='write the Markdown between the marks in this file')
    parser.add_argument('--plot', metavar='PNG', help='also draw parameters against multiply-adds')
    return parser.parse_args()


@contextlib.contextmanager
def too_small(size: int | None) -> Iterator[None]:
    """Says that it is the size where networks without padding have nothing left to convolve."""
    try:
        yield
    except RuntimeError as error:
        if size is None:
            raise
        raise cli.UsageError(f'--img-size {size}: too small for a network ({str(error).splitlines()[0]})') from error


def refuse_what_is_not_used(args: argparse.Namespace) -> None:
    """Raises UsageError where an option belongs to another form of the tool."""
    if args.matrix and args.what != 'table':
        raise cli.UsageError(f'--matrix does not go with {args.what}')
    if args.name is not None and args.what != 'show':
        raise cli.UsageError(f"'{args.name}': only show takes a name; tools/model_zoo.py show {args.name}, or --filter")
    form = '--matrix' if args.matrix else args.what
    used = {
        'table': ('filter', 'sort', 'img_size', 'json', 'markdown', 'into', 'plot'),
        '--matrix': ('filter', 'img_size'),
        'show': ('img_size',),
        'costs': ('into',),
    }[form]
    for option in ('filter', 'sort', 'img_size', 'json', 'markdown', 'into', 'plot'):
        if option not in used and getattr(args, option) not in (None, False):
            raise cli.UsageError(f'--{option.replace("_", "-")} does not go with {form}')


def table(args: argparse.Namespace) -> int:
    """Gives the table in the form asked for; 1 if a reference row is off, else 0."""
    from mmcnn.models import zoo_plot, zoo_table
    from mmcnn.models.reference_table import REFERENCE
    from mmcnn.nearest import nearest

    names, column = chosen(args), args.sort or 'name'
    if column not in zoo_table.SORT_COLUMNS:
        raise cli.UsageError(f"--sort '{column}': {nearest(column, zoo_table.SORT_COLUMNS)}")
    if args.plot and Path(args.plot).is_dir():
        raise cli.UsageError(f'--plot {args.plot} is a folder: name a file, such as {Path(args.plot, "zoo.png")}')
    with too_small(args.img_size):
        networks = zoo_table.ordered([zoo_table.describe(name, args.img_size) for name in names], column)
    exact, line = zoo_table.verdict(networks, [name for name in REFERENCE if fnmatchcase(name, args.filter or '*')])
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
    from mmcnn.nearest import nearest

    pattern = args.filter or '*'
    names = mmcnn.list_backbones(pattern)
    if not names:
        raise cli.UsageError(f"--filter '{pattern}' fits no network; {nearest(pattern, mmcnn.list_backbones())}")
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
    from mmcnn.nearest import nearest

    names = mmcnn.list_backbones()
    if args.name is None:
        raise cli.UsageError('show needs the name of a network: tools/model_zoo.py show NAME')
    if args.name not in names:
        raise cli.UsageError(f"no network is called '{args.name}'; {nearest(args.name, names)}")
    with too_small(args.img_size):
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
    refuse_what_is_not_used(args)
    cli.at_least(32, args, 'img_size')
    return pairs(args) if args.matrix else dict(table=table, show=show, costs=costs)[args.what](args)


if __name__ == '__main__':
    with cli.friendly_errors():
        sys.exit(main())
