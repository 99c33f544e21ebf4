"""Lists all networks of mmcnn, or shows the parts of one of them.

  mmcnn zoo               list all networks: parameters, multiply-adds, memory accesses, levels and channels
  mmcnn zoo show NAME     show one network, stage by stage
  mmcnn zoo costs         print the analysis of the networks' costs as Markdown (docs/costs.md)
  mmcnn zoo matrix        build every network in our four detectors, in full size
  mmcnn zoo matrix --detectors mmdet --filter 'vovnet*' --results matrix.json
                          build networks in MMDetection's packaged configs, train them for a step and predict boxes

The exit code is 1 if the parameter count of a network differs from the published one in the reference table.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from mmcnn.cli.arguments import add_options, check_png, options_from
from mmcnn.errors import UsageError
from mmcnn.nearest import nearest
from mmcnn.runs.options import ImportOptions
from mmcnn.zoo import table
from mmcnn.zoo.reference_table import REFERENCE

#: The options that each form of the command takes.
FORMS = {
    'table': ('filter', 'sort', 'img_size', 'json', 'markdown', 'into', 'plot', 'imports'),
    'matrix': ('filter', 'img_size', 'imports'),
    'matrix --detectors mmdet': ('filter', 'into', 'detectors', 'configs', 'until', 'jobs', 'results', 'imports'),
    'show': ('img_size', 'imports'),
    'costs': ('into',),
}
MINIMUM_SIZE = 32
#: The network that is tried in MMDetection's configs unless ``--filter`` names others.
TRIED_FIRST = 'mobilenetv2'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmcnn zoo``."""
    parser.add_argument('what', nargs='?', choices=['table', 'show', 'costs', 'matrix'], default='table')
    parser.add_argument('name', nargs='?', metavar='NAME', help='name of the network to show')
    parser.add_argument('--filter', metavar='GLOB', help="only networks with a matching name, such as 'resnet*'")
    parser.add_argument(
        '--sort', metavar='COLUMN', help=f'sort by name (default), or with the largest first by {_listed()}'
    )
    parser.add_argument(
        '--img-size',
        type=int,
        metavar='N',
        help='side of the square images that are counted for, in pixels (default: the published size of each network)',
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument('--json', action='store_true', help='print all numbers as JSON')
    form.add_argument('--markdown', action='store_true', help='print the table as Markdown, as in docs/networks.md')
    form.add_argument('--matrix', action='store_true', help='the same as mmcnn zoo matrix')
    form.add_argument(
        '--into',
        metavar='FILE',
        help='write the Markdown to this file, between <!-- zoo --> and <!-- end of zoo --> (costs and matrix: between '
        '<!-- costs --> and <!-- matrix --> marks)',
    )
    parser.add_argument('--plot', metavar='PNG', help='also plot parameters against multiply-adds to this file')
    add_options(parser, ImportOptions)
    matrix = parser.add_argument_group('mmcnn zoo matrix')
    matrix.add_argument(
        '--detectors',
        choices=['ours', 'mmdet'],
        help="ours (the default): YOLOv3, v4, v5 and Faster R-CNN; mmdet: MMDetection's packaged COCO configs, "
        f'each tried with {TRIED_FIRST} unless --filter names others',
    )
    matrix.add_argument(
        '--configs', metavar='GLOB', help="only packaged configs with a matching path, such as 'detr/*'"
    )
    matrix.add_argument('--until', choices=['build', 'step', 'predict'], help='last stage to run (default: predict)')
    matrix.add_argument(
        '--jobs', type=int, metavar='N', help='number of pairs at a time, each in a process (default: 1)'
    )
    matrix.add_argument('--results', metavar='JSON', help='store results in this file; pairs in it are not tried again')


def run(args: argparse.Namespace) -> int:
    """Print the requested table or network.

    Returns:
        1 if a parameter count differs from the reference table, or if a pair of a matrix fails and is not refused; else
        0.

    Raises:
        UsageError: an argument is invalid.
    """
    _refuse_what_is_not_used(args)
    if args.img_size is not None and args.img_size < MINIMUM_SIZE:
        raise UsageError(f'--img-size {args.img_size}: the value must be at least {MINIMUM_SIZE}')
    if imports := options_from(args, ImportOptions).imports:
        from mmcnn.weights.own_modules import import_modules

        import_modules(imports)
    return dict(table=_table, show=_show, costs=_costs, matrix=_matrix)[args.what](args)


def _refuse_what_is_not_used(args: argparse.Namespace) -> None:
    if args.matrix and args.what not in ('table', 'matrix'):
        raise UsageError(f'--matrix cannot be combined with {args.what}')
    if args.matrix:
        args.what = 'matrix'
    if args.name is not None and args.what != 'show':
        raise UsageError(f"'{args.name}': only show takes a name; use mmcnn zoo show {args.name}, or --filter")
    mmdet = args.what == 'matrix' and args.detectors == 'mmdet'
    form = 'matrix --detectors mmdet' if mmdet else args.what
    if args.what == 'matrix' and args.detectors == 'ours':
        args.detectors = None
    for option in dict.fromkeys(option for options in FORMS.values() for option in options):
        if option not in FORMS[form] and getattr(args, option) not in (None, False):
            flag = 'import' if option == 'imports' else option.replace('_', '-')
            raise UsageError(f'--{flag} cannot be combined with {form}')
    if args.what == 'table' and args.imports and args.img_size is None:
        raise UsageError(
            '--import: the stored table has only the networks of mmcnn; with --img-size N, yours is counted, too'
        )


def _table(args: argparse.Namespace) -> int:
    column, pattern = args.sort or 'name', args.filter or '*'
    if column not in table.SORT_COLUMNS:
        raise UsageError(f"--sort '{column}': {nearest(column, table.SORT_COLUMNS)}")
    check_png(args.plot)
    networks = table.ordered(_counted(args.img_size, pattern) if args.img_size else _stored(pattern), column)
    exact, line = table.verdict(networks, [name for name in REFERENCE if fnmatchcase(name, pattern)])
    if args.into:
        _write(args.into, 'zoo', table.as_markdown(networks))
    else:
        form = table.as_json if args.json else table.as_markdown if args.markdown else table.as_text
        print(form(networks))
    if args.plot:
        from mmcnn.plots.zoo import plot_zoo

        plot_zoo(networks, args.plot)
    print(line, file=sys.stderr if args.json or args.markdown else sys.stdout)
    return 0 if exact else 1


def _stored(pattern: str) -> list[table.Network]:
    networks = table.load()
    names = _matching(pattern, [network.name for network in networks])
    return [network for network in networks if network.name in names]


def _counted(size: int, pattern: str) -> list[table.Network]:
    from mmcnn.models.families import list_backbones
    from mmcnn.zoo.measure import describe

    names = _matching(pattern, list_backbones())
    with _too_small(size):
        return [describe(name, size) for name in names]


def _matching(pattern: str, names: Sequence[str]) -> list[str]:
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        raise UsageError(f"--filter '{pattern}' matches no network; {nearest(pattern, names)}")
    return found


@contextlib.contextmanager
def _too_small(size: int | None) -> Iterator[None]:
    """Raise an error about the size if it is too small for networks without padding."""
    try:
        yield
    except RuntimeError as error:
        if size is None:
            raise
        raise UsageError(f'--img-size {size}: too small for a network ({str(error).splitlines()[0]})') from error


def _matrix(args: argparse.Namespace) -> int:
    if args.detectors == 'mmdet':
        return _mmdet_matrix(args)
    from mmcnn.models.families import list_backbones
    from mmcnn.zoo import matrix

    tried = matrix.try_pairs(_matching(args.filter or '*', list_backbones()), args.img_size or 640)
    print(matrix.as_text(tried))
    return int(any(pair.failed for pair in tried))


def _mmdet_matrix(args: argparse.Namespace) -> int:
    from mmcnn.models.families import list_backbones
    from mmcnn.zoo import mmdet_matrix, mmdet_table

    if not hasattr(os, 'fork'):
        raise UsageError('mmcnn zoo matrix --detectors mmdet forks a process for each pair, which Windows cannot')
    networks = _matching(args.filter or TRIED_FIRST, list_backbones())
    pattern, last = args.configs or '*', args.until or 'predict'
    configs = [name for name in mmdet_matrix.CONFIGS if fnmatchcase(name, pattern)]
    if not configs:
        raise UsageError(f"--configs '{pattern}' matches no config; {nearest(pattern, mmdet_matrix.CONFIGS)}")
    if args.jobs is not None and args.jobs < 1:
        raise UsageError(f'--jobs {args.jobs}: the value must be at least 1')
    tried = []
    for each in mmdet_matrix.try_all(configs, networks, last, args.results, args.jobs or 1):
        print(mmdet_table.line(each), flush=True)
        tried.append(each)
    print(mmdet_table.verdict(tried, last))
    if args.into:
        _write(args.into, 'matrix', mmdet_table.as_markdown(tried, last))
    return int(any(each.reason is not None and not each.refused for each in tried))


def _show(args: argparse.Namespace) -> int:
    if args.name is None:
        raise UsageError('show needs the name of a network: mmcnn zoo show NAME')
    from mmcnn.models.families import list_backbones
    from mmcnn.zoo import measure

    names = list_backbones()
    if args.name not in names:
        raise UsageError(f"no network is called '{args.name}'; {nearest(args.name, names)}")
    with _too_small(args.img_size):
        print(measure.stages_as_text(measure.stage_lines(args.name, args.img_size)))
    return 0


def _costs(args: argparse.Namespace) -> int:
    from mmcnn.zoo.cost_study import report

    if args.into:
        _write(args.into, 'costs', report())
    else:
        print(report())
    return 0


def _write(path: str, mark: str, text: str) -> None:
    from mmcnn.cli.files import write_between_marks

    write_between_marks(path, mark, text)


def _listed() -> str:
    *most, last = table.SORT_COLUMNS[1:]
    return f'{", ".join(most)} or {last}'
