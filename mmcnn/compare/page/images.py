"""The same images side by side: ground truth, then the detections of each candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from mmcnn.compare.page.numbers import Numbers, Seeds, in_words, metric
from mmcnn.compare.results import AP, RunResult
from mmcnn.console.layout import number
from mmcnn.evaluation.matches import Objects, match
from mmcnn.image_file import read_image_file
from mmcnn.pages.figures import legend_buttons
from mmcnn.pages.images import Panel, class_colours, gallery, thumbnail
from mmcnn.pages.page import Section, heading, paragraph

#: IoU from which a detection finds an object.
_IOU = 0.5
_MOST = 100  # maximum number of counted detections of an image and class, as in COCO


@dataclass(frozen=True)
class Found:
    """What one run of a candidate found, using the detections above the score threshold.

    Attributes:
        image_ids, boxes, scores, category_ids: (D,), (D, 4) xywh in pixels, (D,), (D,).
        hits: (D,) bool: the detection finds an object.
        counted: (D,) bool: it finds an object or is wrong; one in a crowd is neither.
    """

    image_ids: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    category_ids: np.ndarray
    hits: np.ndarray
    counted: np.ndarray

    def counts(self, image_id: int) -> tuple[int, int]:
        """Return the number of found objects and of wrong detections in an image."""
        own = self.image_ids == image_id
        return int((self.hits & own).sum()), int((self.counted & ~self.hits & own).sum())


def images_section(
    numbers: Numbers, folder: Path, annotations: Mapping[str, Any], images: Path, count: int, score_threshold: float
) -> Section:
    """Return some images of val with the boxes of every candidate.

    Args:
        numbers: numbers of the comparison.
        folder: folder of the comparison, which contains the runs' detections.
        annotations: annotations of val, a COCO dict.
        images: the folder that its file names are relative to.
        count: number of images; those where the candidates differ most are chosen.
        score_threshold: minimum score of a detection.
    """
    objects = Objects.of(annotations['annotations'])
    shown = {}
    for i, candidate in enumerate(numbers.comparison.candidates):
        run = _chosen(candidate.runs, numbers.common_seeds)
        if run is not None and (folder / run.detections).is_file():
            shown[i] = run, _found(folder / run.detections, objects, score_threshold)
    if not shown:
        return Section('images', 'Images', paragraph('No detections were kept, so no images are shown.'))
    chosen = differing(annotations['images'], objects, [found for _, found in shown.values()], count)
    places = {each['id']: i for i, each in enumerate(annotations['categories'])}
    names = [each['name'] for each in annotations['categories']]
    seeds = {in_words(run.block) for run, _ in shown.values()}
    runs = ', '.join(f'{numbers.comparison.candidates[i].name}: {in_words(run.block)}' for i, (run, _) in shown.items())
    runs = f'seed {seeds.pop()}' if len(seeds) == 1 else f'seeds: {runs}'
    parts = [
        paragraph(
            f'The {number(len(chosen), "image")} of val, of {len(annotations["images"]):,}, in which the candidates '
            f'differ most (by the F1 of their boxes): they show differences, not typical results. Boxes have a score '
            f'of at least {score_threshold:g}, of one run of each candidate ({runs}). An object is found by a box of '
            f'its class with an IoU of at least {_IOU:g}.'
        ),
        class_colours(names),
        legend_buttons({i: numbers.comparison.candidates[i].name for i in shown}, samples=False),
    ]
    for each in chosen:
        panels = _panels(numbers, each, objects, shown, places, images)
        parts += [heading(each['file_name']), gallery(panels)]
    return Section('images', 'Images', Markup('\n').join(parts))


def differing(images: Sequence[Mapping], objects: Objects, found: Sequence[Found], count: int) -> list[Mapping]:
    """Return the images with the largest difference between the best and the worst F1 of the candidates, in order."""
    numbers = dict(zip(*np.unique(objects.image_ids[~objects.ignored], return_counts=True), strict=True))

    def spread(image: Mapping) -> float:
        of_image = int(numbers.get(image['id'], 0))
        values = [_f1(*each.counts(image['id']), of_image) for each in found]
        return max(values) - min(values)

    return sorted(images, key=lambda each: (-spread(each), each['id']))[:count]


def _f1(hits: int, wrong: int, objects: int) -> float:
    """Return F1, which is 1 for an image without objects and boxes, since all is right."""
    return 2 * hits / (hits + wrong + objects) if hits + wrong + objects else 1.0


def _chosen(runs: Sequence[RunResult], common: Sequence[Seeds]) -> RunResult | None:
    """Return the run with the first common seed whose detections were kept, else any."""
    kept = [run for run in runs if run.detections and metric(run, AP) is not None]
    return min(kept, key=lambda run: run.block not in common, default=None)


def _found(path: Path, objects: Objects, score_threshold: float) -> Found:
    with np.load(path) as kept:
        sure = kept['scores'] >= score_threshold
        image_ids, boxes, scores, category_ids = (
            kept[key][sure] for key in ('image_ids', 'boxes', 'scores', 'category_ids')
        )
    rows = np.column_stack([image_ids, boxes, scores, category_ids]).astype(float)
    counted, hits = match(rows, objects, _IOU, _MOST)
    return Found(image_ids, boxes, scores, category_ids, hits, counted)


def _panels(
    numbers: Numbers,
    image: Mapping,
    objects: Objects,
    shown: Mapping[int, tuple[RunResult, Found]],
    places: Mapping[int, int],
    folder: Path,
) -> list[Panel]:
    pixels = read_image_file(folder / image['file_name'])
    own = (objects.image_ids == image['id']) & ~objects.crowd
    count = int((own & ~objects.ignored).sum())
    labels = [places[each] for each in objects.categories[own].tolist()]
    panels = [
        Panel(thumbnail(pixels, _corners(objects.boxes[own]), labels), 'Ground truth', number(count, 'object'),
              f'{image["file_name"]} with its {number(count, "object")}')
    ]  # fmt: skip
    for i, (_, found) in shown.items():
        name, mine = numbers.comparison.candidates[i].name, found.image_ids == image['id']
        hits, wrong = found.counts(image['id'])
        text = f'{hits} of {count} found, {wrong} wrong'
        labels = [places[each] for each in found.category_ids[mine].tolist()]
        data = thumbnail(pixels, _corners(found.boxes[mine]), labels, found.scores[mine].tolist())
        panels.append(Panel(data, name, text, f'{image["file_name"]} with the boxes of {name}: {text}', i))
    return panels


def _corners(boxes: np.ndarray) -> np.ndarray:
    """Convert xywh to xyxy."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
