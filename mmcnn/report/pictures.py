"""Images of a report: those with the most errors, and suspect annotations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from mmcnn.errors import DataError
from mmcnn.image_file import read_image_file
from mmcnn.pages.images import Panel, gallery, thumbnail
from mmcnn.pages.page import heading, paragraph
from mmcnn.report.analysis import Analysis, ImageErrors
from mmcnn.report.errors import DETECTION_KINDS, OBJECT_KINDS
from mmcnn.report.suspects import Suspect

#: Kinds in the order of the palette: found objects and correct detections are both green.
COLOURED_KINDS = ('wrongly placed', 'duplicate', 'right or found', 'confused', 'both', 'background', 'missed')
#: Longer side of an image with errors and of the surroundings of a suspect, pixels.
SIDE, CROP = 560, 240
#: Margin around a suspect relative to the sides of its box, and its minimum in pixels.
AROUND, LEAST_AROUND = 1.0, 48
_PLACES = {name: COLOURED_KINDS.index('right or found' if name in ('right', 'found') else name)
           for name in (*DETECTION_KINDS, *OBJECT_KINDS)}  # fmt: skip


def worst_images(analysis: Analysis, count: int) -> Markup:
    """Return the worst images: objects on the left, detections on the right, coloured by kind."""
    chosen = [each for each in analysis.images if each.total or each.loss][:count]
    if not chosen:
        return paragraph('No image has errors.')
    return Markup('\n').join(_pair(analysis, each) for each in chosen)


def suspect_gallery(analysis: Analysis, suspects: Sequence[Suspect]) -> Markup:
    """Return suspects, each with the surrounding part of the image."""
    panels = []
    for number, each in enumerate(suspects, start=1):
        name = analysis.file_names[each.image_id]
        image = _read(analysis, name)
        if image is None:
            continue
        written, said = (analysis.names.get(kind) for kind in (each.category_id, each.proposed))
        what = {'no box': f'no box; {said}?', 'other class': f'{written}; {said}?'}.get(each.kind, f'{written}?')
        crop, box = _around(image, each.box)
        text = f'{each.kind}, doubt {each.doubt:.2f}, {name} at {each.box[0]:.0f}, {each.box[1]:.0f}'
        place = {'no box': 6, 'nothing there': 0, 'other class': 3}[each.kind]
        panels.append(Panel(thumbnail(crop, box[None], [place], longest=CROP), f'{number}. {what}', text,
                            f'{each.reason}, in {name}'))  # fmt: skip
    return gallery(panels)


def _pair(analysis: Analysis, errors: ImageErrors) -> Markup:
    name, image_id = errors.image['file_name'], errors.image['id']
    image = _read(analysis, name)
    loss = [] if errors.loss is None else [f'loss {errors.loss:.3g}']
    told = ', '.join([*loss, *(f'{count} {kind}' for kind, count in errors.counts.items() if count)])
    if image is None:
        return heading(name) + paragraph(f'{told}; the image cannot be read.')
    objects = np.flatnonzero((analysis.truth.image_ids == image_id) & (analysis.objects >= 0))
    kinds = [OBJECT_KINDS[analysis.objects[i]] for i in objects]
    rows, codes = analysis.data.detections, analysis.errors.kinds
    shown = np.flatnonzero((rows[:, 0] == image_id) & (codes >= 0) & (rows[:, 5] >= analysis.score))
    found = [DETECTION_KINDS[codes[i]] for i in shown]
    panels = [
        Panel(
            thumbnail(image, _corners(analysis.truth.boxes[objects]), [_PLACES[kind] for kind in kinds], longest=SIDE),
            'objects', f'{len(objects)}, of which {kinds.count("missed")} missed',
            f'{name} with its {len(objects)} objects',
        ),
        Panel(
            thumbnail(image, _corners(rows[shown, 1:5]), [_PLACES[kind] for kind in found], rows[shown, 5],
                      longest=SIDE),
            'detections', _words(analysis, shown, found), f'{name} with {len(shown)} detections',
        ),
    ]  # fmt: skip
    return heading(f'{name}: {told}') + gallery(panels, wide=True)


def _words(analysis: Analysis, shown: np.ndarray, kinds: Sequence[str]) -> str:
    """Return what is wrong with the detections, for those with the highest scores."""
    rows, told = analysis.data.detections, []
    for i, kind in sorted(zip(shown, kinds, strict=True), key=lambda pair: -rows[pair[0], 5]):
        if kind == 'right':
            continue
        said, about = analysis.names[int(rows[i, 6])], analysis.errors.about[i]
        of = f', is {analysis.names[int(analysis.truth.category_ids[about])]}' if kind == 'confused' else ''
        told.append(f'{said} {rows[i, 5]:.2f} {kind}{of}')
    more = f' and {len(told) - 5} more' if len(told) > 5 else ''
    return f'{len(shown)}, of which {kinds.count("right")} right{": " if told else ""}{"; ".join(told[:5])}{more}'


def _read(analysis: Analysis, name: str) -> np.ndarray | None:
    try:
        return read_image_file(analysis.data.images / name)
    except DataError:
        return None


def _around(image: np.ndarray, box: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of an image with the box at its centre, and the corners of the box in it."""
    x, y, w, h = box
    margin = max(AROUND * max(w, h), LEAST_AROUND)
    height, width = image.shape[:2]
    left, top = (int(max(0, each - margin)) for each in (x, y))
    right, bottom = int(min(width, x + w + margin)) + 1, int(min(height, y + h + margin)) + 1
    return image[top:bottom, left:right], np.array([x - left, y - top, x + w - left, y + h - top])


def _corners(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
