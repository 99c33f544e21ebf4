"""Every run with its seeds, score, files and command; and the circumstances of the comparison."""

from __future__ import annotations

import math

from markupsafe import Markup

from mmcnn.compare.page.numbers import Numbers, metric, quantity
from mmcnn.compare.results import AP, AP50, Comparison, RunResult
from mmcnn.pages.page import Section, bullets, copyable, download, facts, heading, paragraph
from mmcnn.pages.tables import Cell, Column, Row, table

_HASH = 12  # displayed characters of a hash
_DATA = {
    'sha256': 'SHA-256 of the annotations of val', 'num_train': 'images of train', 'num_val': 'images of val',
}  # fmt: skip


def runs_section(numbers: Numbers) -> Section:
    """Return the table of all runs."""
    rows = []
    for i, candidate in enumerate(numbers.comparison.candidates):
        for place, run in enumerate(candidate.runs):
            state = Cell('finished', kind='quiet') if run.failure is None else Cell(run.failure, kind='wrong wide')
            cells = [
                candidate.name, Cell(str(run.seed), run.seed), _init_seed(run.init_seed),
                _score(run, AP), _score(run, AP50), Cell(quantity(run.seconds, 's'), run.seconds), state,
                Cell(Markup('<code>{}</code>').format(run.folder)),
                Cell(Markup('<code title="{}">{}</code>').format(run.checkpoint_sha256, run.checkpoint_sha256[:_HASH])),
                Cell(copyable(run.command)),
            ]  # fmt: skip
            rows.append(Row(cells, f'run-{i}-{place}', flagged=run.failure is not None))
    columns = [
        Column('candidate'), Column('seed', True, 'order and augmentation'),
        Column('init seed', True, 'initial weights; a dash: they follow from the seed'),
        Column('AP', True), Column('AP50', True), Column('time', True, 'of the training'), Column('state'),
        Column('folder'), Column('checkpoint', note=f'the first {_HASH} characters of its SHA-256'), Column('command'),
    ]  # fmt: skip
    caption = f'Every run; checkpoints are shown by the first {_HASH} characters of their SHA-256'
    return Section(
        'runs', 'Runs',
        table('table-runs', caption, columns, rows, filter_label='Runs with', only_flagged='only failed ones'),
    )  # fmt: skip


def method_section(comparison: Comparison) -> Section:
    """Return how the comparison was made, with which versions, and what was not measured."""
    settings = [
        f'{each.name}: {", ".join(f"{key}={value}" for key, value in each.settings.items())}'
        for each in comparison.candidates if each.settings
    ]  # fmt: skip
    parts = [
        bullets(comparison.method), heading('Not measured'),
        bullets(comparison.not_measured) if comparison.not_measured else paragraph('Everything was measured.'),
        heading('The command'), copyable(comparison.command),
    ]  # fmt: skip
    if settings:
        parts += [heading('Settings of single candidates'), bullets(settings)]
    parts += [
        heading('Data'), facts({_DATA.get(key, key): _words(value) for key, value in comparison.data.items()}),
        heading('Versions'), facts(comparison.versions), heading('Files'),
        paragraph(
            Markup(
                'Next to this page are <a href="comparison.json">comparison.json</a>, with everything, and '
                '<a href="comparison.csv">comparison.csv</a>, with a line for each run. This page contains both:'
            )
        ),
        Markup('<p class="buttons">{} {}</p>').format(download('comparison.json'), download('comparison.csv')),
    ]  # fmt: skip
    return Section('method', 'Method, versions, files', Markup('\n').join(parts))


def _score(run: RunResult, key: str) -> Cell:
    value = metric(run, key)
    return Cell('-' if value is None else f'{value:.3f}', math.nan if value is None else value)


def _init_seed(seed: int | None) -> Cell:
    return Cell('-' if seed is None else str(seed), math.nan if seed is None else seed)


def _words(value: object) -> str:
    if isinstance(value, list | tuple):
        return ', '.join(map(str, value))
    return f'{value:,}' if isinstance(value, int) else str(value)
