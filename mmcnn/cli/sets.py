"""Lists public data sets with permissive licences, or converts a copy of one into a data folder.

  mmcnn sets                            list all sets: content, source, commit, licence, size
  mmcnn sets convert NAME SOURCE OUT    convert SOURCE, a clone or an archive of the set, to OUT/train.json,
                                        OUT/val.json and OUT/images/, for mmcnn train --data OUT

Nothing is downloaded. If the SHA-256 of the converted annotations is on record, it is verified; the exit code is 1 if
it differs.
"""

from __future__ import annotations

import argparse

from mmcnn.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmcnn sets``."""
    parser.add_argument('what', nargs='?', choices=['list', 'convert'], default='list')
    parser.add_argument('name', nargs='?', metavar='NAME', help='name of the set to convert').completer = _names
    parser.add_argument('source', nargs='?', metavar='SOURCE', help='folder or archive of the set')
    parser.add_argument('out', nargs='?', metavar='OUT', help='data folder to write, new or empty')
    parser.add_argument(
        '--whole', action='store_true', help='convert all images of a set that is otherwise sampled (deeppcb, hituav)'
    )


def run(args: argparse.Namespace) -> int:
    """List or convert; return 1 if the annotations differ from the recorded ones.

    Raises:
        UsageError: an argument is missing or invalid.
        DataError: the source cannot be converted.
    """
    from mmcnn.datasets.public.rows import as_text, public_set

    if args.what == 'list':
        if args.name is not None or args.whole:
            raise UsageError(f"'{args.name or '--whole'}' is only valid in mmcnn sets convert NAME SOURCE OUT")
        print(as_text())
        return 0
    for metavar in ('NAME', 'SOURCE', 'OUT'):
        if getattr(args, metavar.lower()) is None:
            raise UsageError(f'{metavar} is missing; use mmcnn sets convert NAME SOURCE OUT')

    from mmcnn.datasets.public.conversion import convert

    conversion = convert(public_set(args.name), args.source, args.out, args.whole)
    print(conversion)
    return 0 if conversion.matches is None or all(conversion.matches.values()) else 1


def _names(**_: object) -> list[str]:
    from mmcnn.datasets.public.rows import SETS

    return [row.name for row in SETS]
