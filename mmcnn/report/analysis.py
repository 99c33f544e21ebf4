"""The analysis of a run's detections: scores, errors, suspects and findings in one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from mmcnn.evaluation.best_f1 import best_f1_score
from mmcnn.report.errors import DETECTION_KINDS, OBJECT_KINDS, Errors, Truth, classify
from mmcnn.report.findings import Facts, findings, threshold
from mmcnn.report.run_data import RunData
from mmcnn.report.scores import Scores
from mmcnn.report.suspects import EMPTY, MISSING, OTHER_CLASS, Suspect, find_suspects

#: Score from which errors are counted if nothing is found at any score.
_FALLBACK = 0.25
#: Limits of the size classes of objects, pixels: square root of the area at the network's input.
SIZES = (0, 8, 16, 32, 64, 128, float('inf'))
#: Side of the square below whose area an object is small, pixels at the network's input.
SMALL = 32
#: Kinds that images are ranked by: wrong detections, and missed objects.
IMAGE_KINDS = ('missed', *DETECTION_KINDS[1:])


@dataclass(frozen=True)
class ImageErrors:
    """The errors of an image.

    Attributes:
        image: its entry in the annotation file.
        counts: kind -> number.
        loss: loss of the checkpoint; None: not computed.
    """

    image: dict
    counts: dict[str, int]
    loss: float | None = None

    @property
    def rank(self) -> float:
        """Loss that images are ranked by: 0 if it was not computed, infinite if it is NaN."""
        return 0.0 if self.loss is None else math.inf if math.isnan(self.loss) else self.loss

    @property
    def total(self) -> int:
        """Total number of errors."""
        return sum(self.counts.values())


class Analysis:
    """The analysis of a run.

    Args:
        data: the run with its detections.
        score: lowest score of the detections whose errors are counted; None: where F1 is best at IoU 0.5.
    """

    def __init__(self, data: RunData, score: float | None = None) -> None:
        self.data = data
        self.scores = Scores(data.ann_file, data.coco, data.detections, data.classes)
        self.truth = Truth.of(data.coco, self.scores.category_ids)
        self.errors: Errors = classify(data.detections, self.truth, self.scores.matches)
        self.names = {each['id']: each['name'] for each in data.coco['categories']}
        self.is_own_score = score is None
        self.score = self._best_score() if score is None else score

    @cached_property
    def objects(self) -> np.ndarray:
        """(G,) what happened to each annotation, indices of OBJECT_KINDS; -1: not an object that counts."""
        return self.errors.of_objects(self.score)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Kind of error -> number of errors at the score."""
        return self.errors.counts(self.score)

    @cached_property
    def confusion(self) -> np.ndarray:
        """See :meth:`~mmcnn.report.scores.Scores.confusion`."""
        return self.scores.confusion(self.score)

    @cached_property
    def sides(self) -> np.ndarray:
        """(G,) square root of the area of each object, pixels at the network's input."""
        longest = {each['id']: max(each['width'], each['height']) for each in self.data.coco['images']}
        size = self.data.img_size
        scales = np.array([1.0 if size is None else size / longest[int(each)] for each in self.truth.image_ids])
        return np.sqrt(self.truth.boxes[:, 2:].prod(1)) * scales

    @cached_property
    def of_sizes(self) -> list[tuple[str, int, list[int]]]:
        """Size class, number of objects, and the number of these for each of OBJECT_KINDS."""
        rows = []
        for low, high in pairwise(SIZES):
            inside = (self.objects >= 0) & (self.sides >= low) & (self.sides < high)
            name = f'{low} to {high} px' if np.isfinite(high) else f'{low} px and more'
            kinds = [int((self.objects[inside] == i).sum()) for i in range(len(OBJECT_KINDS))]
            rows.append((name, int(inside.sum()), kinds))
        return rows

    @cached_property
    def images(self) -> list[ImageErrors]:
        """The images, the worst first: by loss if it was computed, otherwise by the number of errors."""
        counts = {each['id']: dict.fromkeys(IMAGE_KINDS, 0) for each in self.data.coco['images']}
        for i in np.flatnonzero(self.objects == OBJECT_KINDS.index('missed')):
            counts[int(self.truth.image_ids[i])]['missed'] += 1
        for i in np.flatnonzero((self.errors.kinds > 0) & (self.errors.scores >= self.score)):
            counts[int(self.data.detections[i, 0])][DETECTION_KINDS[self.errors.kinds[i]]] += 1
        losses = self.data.losses
        found = [ImageErrors(each, counts[each['id']], losses.get(each['id'])) for each in self.data.coco['images']]
        return sorted(found, key=lambda each: (-each.rank, -each.total, each.image['file_name']))

    @cached_property
    def suspects(self) -> list[Suspect]:
        """Annotations that may be wrong, the most doubtful first."""
        ids = np.array([each['id'] for each in self.data.coco['annotations']], int)
        return find_suspects(self.data.detections, self.truth, ids, self.errors, self.names)

    @cached_property
    def facts(self) -> Facts:
        """The numbers that findings are based on."""
        data, missed = self.data, self.objects == OBJECT_KINDS.index('missed')
        small = (self.objects >= 0) & (self.sides < SMALL)
        annotated = {each['image_id'] for each in data.coco['annotations']}
        names, matrix = self.scores.classes, self.confusion
        scores = data.history.scores.items()
        sure = [each for each in self.suspects if each.doubt >= threshold('suspects')]
        return Facts(
            metrics=self.scores.metrics,
            classes=self.scores.of_classes,
            cost=self.scores.cost,
            counts=self.counts,
            score=self.score,
            images=len(data.coco['images']),
            unlabelled=sum(each['id'] not in annotated for each in data.coco['images']),
            objects=int((self.objects >= 0).sum()),
            missed=int(missed.sum()),
            small=int(small.sum()),
            missed_small=int((missed & small).sum()),
            found_below=int((missed & (self.errors.of_objects() == 0)).sum()),
            img_size=data.img_size,
            anchor_recall=data.anchor_recall,
            anchors_command=data.anchors_command,
            confused=[
                (names[i], names[j], int(matrix[i, j]))
                for i in range(len(names))
                for j in range(len(names))
                if i != j and matrix[i, j]
            ],
            train_boxes=data.train_boxes,
            losses=data.history.epoch_losses,
            aps=[(epoch, entry['coco/bbox_mAP']) for epoch, entry in scores if entry.get('coco/bbox_mAP', -1) >= 0],
            suspects={kind: _count(sure, lambda each, kind=kind: each.kind == kind)
                      for kind in (MISSING, EMPTY, OTHER_CLASS)},
        )  # fmt: skip

    @cached_property
    def findings(self) -> list[str]:
        """What the numbers show, in sentences."""
        return findings(self.facts)

    def as_json(self) -> dict:
        """Return all numbers, for ``report.json``."""
        data = self.data
        return dict(
            work_dir=str(data.work_dir),
            checkpoint=None if data.checkpoint is None else str(data.checkpoint),
            annotations=str(data.ann_file),
            detections=data.made,
            score=self.score,
            img_size=data.img_size,
            findings=self.findings,
            metrics=self.scores.metrics,
            classes=[
                dict(zip(('name', 'objects', 'AP', 'AP50', 'AP75'), row, strict=True))
                for row in self.scores.of_classes
            ],
            errors={kind: dict(count=self.counts[kind], AP50=self.scores.cost[kind]) for kind in self.scores.cost},
            confusion=dict(classes=[*self.scores.classes, 'background'], counts=self.confusion.tolist()),
            sizes=[
                dict(size=name, objects=count, **dict(zip(OBJECT_KINDS, kinds, strict=True)))
                for name, count, kinds in self.of_sizes
            ],
            images=[
                dict(id=each.image['id'], file_name=each.image['file_name'], loss=each.loss, **each.counts)
                for each in self.images
            ],
            suspects=[
                dict(vars(each), file_name=self.file_names[each.image_id],
                     category=self.names.get(each.category_id), proposed_category=self.names.get(each.proposed))
                for each in self.suspects
            ],
            train_boxes=data.train_boxes,
            anchor_recall=data.anchor_recall,
        )  # fmt: skip

    @cached_property
    def file_names(self) -> dict[int, str]:
        """Image id -> file name in the annotations."""
        return {each['id']: each['file_name'] for each in self.data.coco['images']}

    def _best_score(self) -> float:
        """Return the score with the best F1 of all classes together: the fewest misses and errors for what is found."""
        counted, finds = self.scores.matches.counted, self.scores.matches.finds
        scores, one_class = self.data.detections[counted, 5], np.zeros(int(counted.sum()), int)
        objects = sum(count for _, count, *_ in self.scores.of_classes)
        best = best_f1_score(scores, finds[counted] >= 0, one_class, {0: objects})
        return _FALLBACK if best is None else best


def _count(items: list, is_meant: Callable) -> int:
    return sum(map(is_meant, items))
