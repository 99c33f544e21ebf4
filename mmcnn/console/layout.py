"""Text in columns, and the results of a validation."""

from __future__ import annotations

import itertools
import math
import unicodedata
from collections.abc import Mapping, Sequence

#: Classes whose AP is listed; of more, so many best and worst.
MAX_CLASSES, EXTREMES = 20, 5
#: Columns of an evaluation's table: COCO's twelve numbers; of a validation's: those that one follows.
ALL_COLUMNS = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'AR1', 'AR10', 'AR100', 'ARs', 'ARm', 'ARl')
COLUMNS = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'AR100')
#: What stands in place of numbers where there are no objects.
NOTHING = 'nothing to measure: there are no objects to validate on'
#: What the columns of a classifier's table begin with; they are in percent.
PERCENT = 'top'
_LABEL = 8
#: Characters of a name in a table: wide ones take two.
MAX_NAME = 40


def one_line(name: str) -> str:
    """Return a name without line breaks, tabs and other characters that would move what follows or steer a terminal."""
    return ''.join('\ufffd' if _is_unseen(each) else each for each in ' '.join(name.split()))


def number(count: int, noun: str) -> str:
    """'1 box', '2,000 boxes', '3 categories'."""
    plural = f'{noun[:-1]}ies' if noun.endswith('ry') else noun + ('es' if noun.endswith(('x', 's')) else 's')
    return f'{count:,} {noun if count == 1 else plural}'


def shortened(name: str, width: int = MAX_NAME) -> str:
    """Return a name on one line, cut with an ellipsis where it would take more than ``width`` columns of a terminal."""
    from rich.cells import cell_len, set_cell_size

    name = one_line(name)
    return name if cell_len(name) <= width else f'{set_cell_size(name, width - 1).rstrip()}…'


def _is_unseen(character: str) -> bool:
    """Control characters, halves of a pair and marks of the direction; joiners belong to words and emoji."""
    return unicodedata.category(character) in ('Cc', 'Cs') or character in _DIRECTIONS


_DIRECTIONS = '\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069'


def labelled(rows: Sequence[tuple[str, str]]) -> list[str]:
    """``label   text`` for each row."""
    return [f'{label:<{_LABEL}} {text}' for label, text in rows]


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Columns under their heads, the columns ``left`` to the left and the others, numbers, to the right.

    A row may have fewer cells than there are columns. Wide characters take two columns of a terminal.
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
    """Rows for :meth:`~mmcnn.console.Console.table`: all objects, then each class, or the best and the worst ones.

    Args:
        metrics: named as in :class:`~mmcnn.runs.results.EvaluateResult`.
        class_ap: AP by class.
        columns: the metrics that are shown, if they are known at all.
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
    """Return whether there was nothing to measure by in a validation: no number of it is one."""
    return bool(metrics) and all(math.isnan(value) or value == -1 for value in metrics.values())


def _number(value: float, percent: bool = False) -> str:
    """Return a dash where there is nothing to measure: -1 in COCO's numbers, NaN in those of a class."""
    if math.isnan(value) or value == -1:
        return '-'
    return f'{value:.2f} %' if percent else f'{value:.3f}'
