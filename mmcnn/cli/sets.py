"""Lists public data sets with permissive licences, or converts a copy of one into a data folder.

  mmcnn sets                            all sets: what they show, source, commit, licence, size
  mmcnn sets convert NAME SOURCE OUT    SOURCE, a clone or an archive of the set, becomes OUT/train.json, OUT/val.json
                                        and OUT/images/, for mmcnn train --data OUT

Nothing is downloaded. Where the SHA-256 of the converted annotations is recorded, it is compared; the exit code is 1 if
they are others.
"""

from __future__ import annotations

import argparse

from mmcnn.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``mmcnn sets``."""
    parser.add_argument('what', nargs='?', choices=['list', 'convert'], default='list')
    parser.add_argument('name', nargs='?', metavar='NAME', help='the set to convert').completer = _names
    parser.add_argument('source', nargs='?', metavar='SOURCE', help='a folder, or an archive, with the set')
    parser.add_argument('out', nargs='?', metavar='OUT', help='the data folder to write, new or empty')
    parser.add_argument(
        '--whole', action='store_true', help='convert all images of a set of which some were drawn (deeppcb, hituav)'
    )


def run(args: argparse.Namespace) -> int:
    """Lists or converts; 1 if the annotations are not those that are recorded.

    Raises:
        UsageError: an argument is missing or does not fit.
        DataError: the source cannot be converted.
    """
    from mmcnn.datasets.public.rows import as_text, public_set

    if args.what == 'list':
        if args.name is not None or args.whole:
            raise UsageError(f"'{args.name or '--whole'}' goes with mmcnn sets convert NAME SOURCE OUT only")
        print(as_text())
        return 0
    for metavar in ('NAME', 'SOURCE', 'OUT'):
        if getattr(args, metavar.lower()) is None:
            raise UsageError(f'{metavar} is missing: mmcnn sets convert NAME SOURCE OUT')

    from mmcnn.datasets.public.conversion import convert

    conversion = convert(public_set(args.name), args.source, args.out, args.whole)
    print(conversion)
    return 0 if conversion.matches is None or all(conversion.matches.values()) else 1


def _names(**_: object) -> list[str]:
    from mmcnn.datasets.public.rows import SETS

    return [row.name for row in SETS]
