"""Tables as HTML: headers, sort keys, escaping."""

import math

import pytest

from mmcnn.pages.tables import Cell, Column, Row, table

HOSTILE = '<script>alert("1")</script>'
COLUMNS = (Column('name'), Column('AP', True, 'the mean'))


def test_heads_rows_and_what_is_sorted_by():
    rows = [
        Row(['a', Cell('0.412', 0.412, 0.5, 'strong')], 'row-a', flagged=True),
        Row(['b', Cell('-', math.nan)]),
    ]
    text = str(table('scores', 'Scores', COLUMNS, rows, filter_label='Rows with', only_flagged='only good ones'))
    assert '<caption id="scores-caption">Scores</caption>' in text
    assert '<th scope="col" aria-sort="none"><button type="button">name</button></th>' in text
    assert '<th scope="col" aria-sort="none" class="number" title="the mean"><button type="button">AP</button>' in text
    assert '<tr id="row-a" tabindex="-1" data-is-flagged><th scope="row">a</th>' in text
    assert '<td class="strong number heat" data-sort="0.412" style="--heat: 0.500">0.412</td>' in text
    assert '<tr><th scope="row">b</th><td class="number" data-sort="">-</td></tr>' in text
    assert 'data-filter="scores"' in text
    assert 'data-flagged="scores"' in text
    assert '2 of 2 rows' in text


def test_without_sorting_and_filters_there_are_no_buttons():
    text = str(table('plain', 'Plain', COLUMNS, [Row(['a', '1'])], sortable=False))
    assert 'button' not in text
    assert 'input' not in text
    assert 'aria-sort' not in text


def test_what_is_written_is_escaped():
    text = str(table('t', HOSTILE, [Column(HOSTILE, note=HOSTILE)], [Row([HOSTILE])], filter_label=HOSTILE))
    assert '<script' not in text
    assert text.count('&lt;script&gt;') == 5


def test_shades_stay_between_0_and_1():
    text = str(table('t', 'T', [Column('a')], [Row([Cell('x', heat=value)]) for value in (-1, 2)]))
    assert '--heat: 0.000' in text
    assert '--heat: 1.000' in text


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="table 't' has 2 columns, but one of its rows has 1 cells"):
        table('t', 'T', COLUMNS, [Row(['a'])])
