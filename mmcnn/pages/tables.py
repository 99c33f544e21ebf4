"""Tables that can be sorted and filtered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: text of its head.
        number: whether its cells are numbers: they are right-aligned, and sorted in descending order first.
        note: explanation of the title, shown when it is pointed at.
    """

    title: str
    number: bool = False
    note: str = ''


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        content: the displayed text.
        sort: sort key; None: the displayed text. Cells of numbers need one, NaN if they have none.
        heat: shade from 0 to 1; None: no shade.
        kind: classes of the style, 'strong' or 'quiet'.
    """

    content: str | Markup
    sort: float | str | None = None
    heat: float | None = None
    kind: str = ''


@dataclass(frozen=True)
class Row:
    """A row of a table; its first cell is its head.

    Attributes:
        cells: one for each column.
        name: anchor on the page, ``#name``; '' for none.
        flagged: whether it stays visible if only flagged rows are shown.
    """

    cells: Sequence[Cell | str]
    name: str = ''
    flagged: bool = field(default=False, kw_only=True)


def table(
    name: str,
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Row],
    *,
    sortable: bool = True,
    filter_label: str = '',
    only_flagged: str = '',
) -> Markup:
    """Return a table in a box that scrolls if the table is wider than the page.

    Args:
        name: anchor on the page, ``#name``.
        caption: what it shows.
        columns: the first one contains the heads of the rows.
        rows: the rows in their initial order.
        sortable: make the column heads buttons that sort.
        filter_label: label of a field that hides rows without the typed words; '': no field.
        only_flagged: label of a box that hides rows that are not flagged; '': no box.

    Raises:
        ValueError: a row does not have as many cells as there are columns.
    """
    for row in rows:
        if len(row.cells) != len(columns):
            raise ValueError(
                f'table {name!r} has {len(columns)} columns, but one of its rows has {len(row.cells)} cells'
            )
    heads = Markup('').join(_head(column, sortable) for column in columns)
    body = Markup('\n').join(_row(row, columns) for row in rows)
    return _controls(name, filter_label, only_flagged, len(rows)) + Markup(
        '<div class="scroll" role="group" aria-labelledby="{0}-caption" tabindex="0">'
        '<table id="{0}"><caption id="{0}-caption">{1}</caption>\n<thead><tr>{2}</tr></thead>\n'
        '<tbody>\n{3}\n</tbody></table></div>'
    ).format(name, caption, heads, body)


def _controls(name: str, filter_label: str, only_flagged: str, count: int) -> Markup:
    parts = []
    if filter_label:
        parts.append(Markup('<label>{} <input type="search" data-filter="{}"></label>').format(filter_label, name))
    if only_flagged:
        parts.append(Markup('<label><input type="checkbox" data-flagged="{}"> {}</label>').format(name, only_flagged))
    if not parts:
        return Markup('')
    parts.append(Markup('<output data-count="{0}">{1} of {1} rows</output>').format(name, count))
    return Markup('<div class="controls needs-script">{}</div>\n').format(Markup('').join(parts))


def _head(column: Column, sortable: bool) -> Markup:
    title = Markup(' title="{}"').format(column.note) if column.note else ''
    kind = Markup(' class="number"') if column.number else ''
    if not sortable:
        return Markup('<th scope="col"{}{}>{}</th>').format(kind, title, column.title)
    return Markup('<th scope="col" aria-sort="none"{}{}><button type="button">{}</button></th>').format(
        kind, title, column.title
    )


def _row(row: Row, columns: Sequence[Column]) -> Markup:
    cells = []
    for i, (each, column) in enumerate(zip(row.cells, columns, strict=True)):
        cell = each if isinstance(each, Cell) else Cell(each)
        kinds = ' '.join(filter(None, [cell.kind, 'number' * column.number, 'heat' * (cell.heat is not None)]))
        marks = Markup(' class="{}"').format(kinds) if kinds else Markup('')
        if cell.sort is not None:
            marks += Markup(' data-sort="{}"').format('' if _is_nan(cell.sort) else cell.sort)
        if cell.heat is not None:
            marks += Markup(' style="--heat: {:.3f}"').format(min(max(cell.heat, 0), 1))
        tag = Markup('<th scope="row"{}>{}</th>') if i == 0 else Markup('<td{}>{}</td>')
        cells.append(tag.format(marks, cell.content))
    marks = Markup(' id="{}" tabindex="-1"').format(row.name) if row.name else Markup('')
    marks += Markup(' data-is-flagged') if row.flagged else Markup('')
    return Markup('<tr{}>{}</tr>').format(marks, Markup('').join(cells))


def _is_nan(value: float | str) -> bool:
    return isinstance(value, float) and math.isnan(value)
