"""The page of a report: sections of an analysis, built with mmcnn/pages."""

from __future__ import annotations

import math

import numpy as np
from markupsafe import Markup

from mmcnn.pages.figures import choice
from mmcnn.pages.images import class_colours
from mmcnn.pages.page import Section, bullets, download, facts, folded, paragraph
from mmcnn.pages.tables import Cell, Column, Row, table
from mmcnn.report.analysis import Analysis
from mmcnn.report.errors import OBJECT_KINDS
from mmcnn.report.figures import curves, precision_recall
from mmcnn.report.findings import THRESHOLDS
from mmcnn.report.pictures import COLOURED_KINDS, suspect_gallery, worst_images
from mmcnn.report.scores import FOUND, NAMES
from mmcnn.report.suspects import Suspect

#: Maximum number of classes in the confusion matrix; if there are more, those with the most errors.
MATRIX = 30
#: Maximum number of suspects in the table, and of those with an image.
SUSPECTS, PICTURED = 300, 24
#: Kind of error -> what it means.
MEANINGS = {
    'missed': 'an object that no detection finds, misplaces or confuses',
    'wrongly placed': 'a detection of the right class that overlaps its object by 0.1 to 0.5 (IoU)',
    'confused': 'a detection that overlaps an object of another class by 0.5 or more',
    'duplicate': 'a detection of an object that another detection with a higher score has found',
    'background': 'a detection that overlaps no object by more than 0.1',
    'both': 'a detection that is wrong in both place and class',
}


def sections_of(analysis: Analysis, images: int) -> list[Section]:
    """Return the sections of a report.

    Args:
        analysis: the analysis of the run.
        images: number of the worst images to show.
    """
    return [
        Section('findings', 'What the numbers show', _findings(analysis)),
        Section('numbers', 'AP', _numbers(analysis)),
        Section('training', 'Training', curves(analysis.data.history)),
        Section('errors', 'Errors by kind', _errors(analysis)),
        Section('precision', 'Precision and recall', _precision(analysis)),
        Section('confusion', 'Confusion of classes', _confusion(analysis)),
        Section('sizes', 'Sizes', _sizes(analysis)),
        Section('images', 'Worst images', _images(analysis, images)),
        Section('suspects', 'Suspect annotations', _suspects(analysis)),
        Section('made', 'How this was made', _made(analysis)),
    ]


def _findings(analysis: Analysis) -> Markup:
    data, score = analysis.data, analysis.score
    said = analysis.findings
    body = (
        Markup('<ul class="lead">{}</ul>').format(Markup('').join(Markup('<li>{}</li>').format(each) for each in said))
        if said
        else paragraph('No rule applies to this run.')
    )
    own = 'where F1 is best on val' if analysis.is_own_score else 'chosen by --score-thr'
    return body + facts({
        'run': str(data.work_dir),
        'validation': f'{data.ann_file}: {analysis.facts.images:,} images, {analysis.facts.objects:,} objects',
        'detections': f'{len(data.detections):,}, {data.made}',
        'score': f'errors are counted for detections with a score of at least {score:.2f}, {own}',
    })  # fmt: skip


def _numbers(analysis: Analysis) -> Markup:
    metrics = analysis.scores.metrics
    notes = {
        'AP': 'mean over IoU 0.50 to 0.95',
        'AP50': 'at IoU 0.50', 'AP75': 'at IoU 0.75', 'APs': 'areas below 32 x 32 px',
        'APm': 'areas below 96 x 96 px', 'APl': 'larger areas', 'AR1': '1 detection of an image and class',
        'AR10': '10 detections', 'AR100': '100 detections', 'ARs': 'small, 100 detections',
        'ARm': 'medium, 100 detections', 'ARl': 'large, 100 detections',
    }  # fmt: skip
    twelve = table(
        'twelve', "COCO's twelve numbers; sizes are in pixels of the original images",
        [Column('number'), Column('value', True), Column('of')],
        [Row([name, _value(metrics[name], -1), Cell(notes[name], kind='quiet')]) for name in NAMES],
        sortable=False,
    )  # fmt: skip
    boxes = analysis.data.train_boxes
    rows = [
        Row([
            name, _count(objects), _count(boxes[name]) if name in boxes else Cell('', math.nan),
            *(_value(value, heat=True) for value in values),
        ])
        for name, objects, *values in analysis.scores.of_classes
    ]  # fmt: skip
    columns = [Column('class'), Column('objects', True), Column('training boxes', True),
               *(Column(name, True) for name in ('AP', 'AP50', 'AP75'))]  # fmt: skip
    filtered = 'Filter classes' if len(rows) > 10 else ''
    return twelve + table('classes', 'AP of each class', columns, rows, filter_label=filtered)


def _errors(analysis: Analysis) -> Markup:
    cost, counts = analysis.scores.cost, analysis.counts
    most = max(max(cost.values()), 0.01)
    rows = [
        Row([
            kind, _count(counts[kind]),
            Cell(f'{cost[kind]:.3f}', cost[kind], heat=cost[kind] / most), Cell(MEANINGS[kind], kind='wide'),
        ])
        for kind in sorted(cost, key=lambda each: -cost[each])
    ]  # fmt: skip
    columns = [Column('kind'), Column(f'errors, score from {analysis.score:.2f}', True),
               Column('AP50 cost', True, 'gain of AP50 without this kind, at any score'),
               Column('meaning')]  # fmt: skip
    return table('kinds', f'Errors at IoU {FOUND}', columns, rows) + paragraph(
        'Costs are computed on all detections, like AP, by fixing only this kind; they do not add up. The kinds '
        'are those of TIDE (Bolya et al., 2020), computed by hotcoco.', 'quiet',
    )  # fmt: skip


def _precision(analysis: Analysis) -> Markup:
    scores = analysis.scores
    objects = [count for _, count, *_ in scores.of_classes]
    return choice(
        'IoU',
        [
            (f'{iou:.2f}', precision_recall(f'recall-{round(100 * iou)}', iou, scores.precision_at(iou),
                                            scores.classes, objects))
            for iou in (0.5, 0.75)
        ],
    )  # fmt: skip


def _confusion(analysis: Analysis) -> Markup:
    matrix, names = analysis.confusion, [*analysis.scores.classes, 'background']
    shown = np.arange(len(names) - 1)
    more = ''
    if len(shown) > MATRIX:
        wrong = matrix.sum(1)[:-1] + matrix.sum(0)[:-1] - 2 * np.diag(matrix)[:-1]
        shown = np.sort(np.argsort(-wrong, kind='stable')[:MATRIX])
        more = f'; the {MATRIX} of {len(names) - 1} classes with the most errors'
    columns = [*shown, len(names) - 1]
    whole = np.maximum(matrix.sum(1), 1)
    rows = []
    for i in columns:
        name = 'background' if i == len(names) - 1 else names[i]
        cells = [
            Cell('' if i == j == len(names) - 1 else f'{matrix[i, j]:,}', float(matrix[i, j]),
                 heat=matrix[i, j] / whole[i] if matrix[i, j] else None)
            for j in columns
        ]  # fmt: skip
        rows.append(Row([name, *cells]))
    heads = [Column('object'), *(Column(names[j] if j < len(names) - 1 else 'missed', True) for j in columns)]
    return table(
        'matrix', f'Objects by row, detected classes by column, at IoU {FOUND} and scores from '
        f'{analysis.score:.2f}{more}', heads, rows, sortable=len(rows) > 6,
    ) + paragraph(
        'The last row has detections on no object, and duplicates. Here detections match objects regardless of '
        'class: an object with boxes of two classes counts for the one with the higher score.', 'quiet',
    )  # fmt: skip


def _sizes(analysis: Analysis) -> Markup:
    rows = []
    for i, (name, count, kinds) in enumerate(analysis.of_sizes):
        shares = [
            Cell(f'{each:,} ({100 * each / count:.0f} %)' if count else '', each if count else math.nan,
                 heat=each / count if count else None)
            for each in kinds
        ]  # fmt: skip
        rows.append(Row([Cell(name, i), _count(count), *shares]))
    size = analysis.data.img_size
    where = f"at the network's input, whose longer side is {size} px" if size else 'in the image'
    return table(
        'of-sizes',
        f'What happens to objects by the square root of their area {where}; scores from {analysis.score:.2f}',
        [Column('size'), Column('objects', True), *(Column(kind, True) for kind in OBJECT_KINDS)],
        rows,
    )


def _images(analysis: Analysis, count: int) -> Markup:
    body = class_colours(COLOURED_KINDS) + worst_images(analysis, count) if count else Markup('')
    has_losses = bool(analysis.data.losses)
    rows = [
        Row(
            [each.image['file_name'], *([_value(each.loss)] if has_losses else []), _count(each.total),
             *(_count(number) for number in each.counts.values())]
        )
        for each in analysis.images
        if each.total or has_losses
    ]  # fmt: skip
    kinds = [Column(kind, True) for kind in (analysis.images[0].counts if analysis.images else ())]
    columns = [Column('image'), *([Column('loss', True)] if has_losses else []), Column('errors', True), *kinds]
    listed = table('all-images', 'Errors of every image', columns, rows, filter_label='Filter images')
    return body + folded(f'All {len(rows):,} images{"" if has_losses else " with errors"}', listed)


def _suspects(analysis: Analysis) -> Markup:
    suspects = analysis.suspects
    if not suspects:
        return paragraph('No annotation is suspicious.')
    rows = [_suspect_row(analysis, i, each) for i, each in enumerate(suspects[:SUSPECTS])]
    columns = [Column('number', True), Column('kind'), Column('doubt', True), Column('class'), Column('image'),
               Column('x, y, w, h'), Column('annotation', True), Column('why')]  # fmt: skip
    more = f'the first {SUSPECTS} of {len(suspects):,} ' if len(suspects) > SUSPECTS else ''
    return (
        paragraph(
            'They are guesses of this detector: check them before changing anything. The better it is, the better they '
            'are. Boxes are in image pixels.',
            'quiet',
        )
        + suspect_gallery(analysis, suspects[:PICTURED])
        + folded(
            f'All {len(suspects):,} suspects with their positions',
            table('all-suspects', f'{more}annotations of val that may be wrong'.capitalize(), columns, rows,
                  filter_label='Filter suspects'),
        )
    )  # fmt: skip


def _suspect_row(analysis: Analysis, i: int, each: Suspect) -> Row:
    box = ', '.join(f'{value:.0f}' for value in each.box)
    written, proposed = (analysis.names.get(kind, '') for kind in (each.category_id, each.proposed))
    return Row(
        [
            Cell(str(i + 1), i + 1), each.kind, Cell(f'{each.doubt:.2f}', each.doubt),
            f'{written}, {proposed}?' if written and proposed else f'{written or proposed}?',
            analysis.file_names[each.image_id], box,
            Cell('' if each.annotation_id is None else str(each.annotation_id),
                 math.nan if each.annotation_id is None else each.annotation_id),
            Cell(each.reason, kind='wide'),
        ],
        name=f'suspect-{i + 1}',
    )  # fmt: skip


def _made(analysis: Analysis) -> Markup:
    rows = [Row([name, Cell(f'{value:g}', value), Cell(meaning, kind='wide')])
            for name, (value, meaning) in THRESHOLDS.items()]  # fmt: skip
    return (
        bullets([
            f'AP, matches, confusion and costs are computed by hotcoco on {analysis.data.ann_file}.',
            'A finding is reported only if its rule applies; the table below has the limits of the rules.',
            'report.json next to this page has all numbers, every image and every suspect.',
        ])
        + paragraph(download('report.json'))
        + folded('The thresholds of the findings',
                 table('thresholds', 'Limits of the rules', [Column('rule'), Column('value', True),
                                                                    Column('meaning')], rows))
    )  # fmt: skip


def _value(value: float, nothing: float = math.nan, heat: bool = False) -> Cell:
    if value == nothing or math.isnan(value):
        return Cell('', math.nan)
    return Cell(f'{value:.3f}', value, heat=value if heat else None)


def _count(value: int) -> Cell:
    return Cell(f'{value:,}', value)
