"""Text in columns, and the results of a validation."""

from __future__ import annotations

import itertools
import math
import unicodedata
from collections.abc import Mapping, Sequence

#: Maximum number of classes whose AP is listed; with more, this many best and worst ones.
MAX_CLASSES, EXTREMES = 20, 5
#: Columns of the table of an evaluation (COCO's twelve numbers) and of a validation (those to follow during training).
ALL_COLUMNS = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'AR1', 'AR10', 'AR100', 'ARs', 'ARm', 'ARl')
COLUMNS = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'AR100')
#: Text in place of numbers if there are no objects.
NOTHING = 'nothing to measure: the validation images have no objects'
#: Prefix of the columns of a classifier's table, which are in percent.
PERCENT = 'top'
_LABEL = 8
#: Maximum width of a name in a table; wide characters take two columns.
MAX_NAME = 40


def one_line(name: str) -> str:
    """Return a name without line breaks, tabs and other characters that move the following text or steer a terminal."""
    return ''.join('\ufffd' if _is_unseen(each) else each for each in ' '.join(name.split()))


def number(count: int, noun: str) -> str:
    """Return '1 box', '2,000 boxes', '3 categories'."""
    plural = f'{noun[:-1]}ies' if noun.endswith('ry') else noun + ('es' if noun.endswith(('x', 's')) else 's')
    return f'{count:,} {noun if count == 1 else plural}'


def shortened(name: str, width: int = MAX_NAME) -> str:
    """Return a name on one line, cut with an ellipsis if it takes more than ``width`` columns of a terminal."""
    from rich.cells import cell_len, set_cell_size

    name = one_line(name)
    return name if cell_len(name) <= width else f'{set_cell_size(name, width - 1).rstrip()}…'


def _is_unseen(character: str) -> bool:
    """Return whether a character is a control, a surrogate or a direction mark; joiners belong to words and emoji."""
    return unicodedata.category(character) in ('Cc', 'Cs') or character in _DIRECTIONS


_DIRECTIONS = '\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069'


def labelled(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Return ``label   text`` for each row."""
    return [f'{label:<{_LABEL}} {text}' for label, text in rows]


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Return columns under their heads; the columns ``left`` are aligned to the left, all others to the right.

    A row may have fewer cells than columns. Wide characters take two columns of a terminal.
    """
    from rich.cells import cell_len

    lines = [head, *rows]
    widths = [max(map(cell_len, column)) for column in itertools.zip_longest(*lines, fillvalue='')]

    def padded(cell: str, i: int) -> str:
        space = ' ' * (widths[i] - cell_len(cell))
        return cell + space if i in left else space + cell

    return '\n'.join('  '.join(padded(cell, i) for i, cell in enumerate(line)).rstrip() for line in lines)


def validation(
    metrics: Mapping[str, float], class_ap: Mapping[str, float], columns: Sequence[str] = COLUMNS
) -> list[list[str]]:
    """Return rows for :meth:`~mmcnn.console.Console.table`: all objects, then each class, or the best and worst ones.

    Args:
        metrics: named as in :class:`~mmcnn.runs.results.EvaluateResult`.
        class_ap: AP by class.
        columns: the metrics to show, if known.
    """
    known = [name for name in columns if name in metrics] or list(metrics)
    if nothing_measured(metrics):
        return [[], ['all', NOTHING]]
    shown = {name: shortened(name) for name in class_ap}
    rows = [known, ['all', *(_number(metrics[name], name.startswith(PERCENT)) for name in known)]]
    found = {name: ap for name, ap in class_ap.items() if not math.isnan(ap)}
    if len(class_ap) <= MAX_CLASSES:
        return rows + [[shown[name], _number(ap)] for name, ap in class_ap.items()]
    ranked = sorted(found, key=found.get, reverse=True)
    best, worst = ranked[:EXTREMES], ranked[max(EXTREMES, len(ranked) - EXTREMES) :]
    for title, names in (('best classes', best), ('worst classes', worst)):
        rows += [[f'{title}:'] if names else [], *([f'  {shown[name]}', _number(found[name])] for name in names)]
    return [row for row in rows if row]


def nothing_measured(metrics: Mapping[str, float]) -> bool:
    """Return whether a validation had nothing to measure: all of its numbers are -1 or NaN."""
    return bool(metrics) and all(math.isnan(value) or value == -1 for value in metrics.values())


def _number(value: float, percent: bool = False) -> str:
    """Return the formatted number; a dash if there is nothing to measure (-1 for COCO's numbers, NaN for a class)."""
    if math.isnan(value) or value == -1:
        return '-'
    return f'{value:.2f} %' if percent else f'{value:.3f}'
