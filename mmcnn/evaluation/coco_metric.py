"""The twelve COCO numbers and the AP of every class, for boxes."""

import logging
import os
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from hotcoco import COCO, COCOeval
from mmdet.evaluation import CocoMetric as MMDetCocoMetric
from mmengine.fileio import get_local_path
from mmengine.logging import print_log

from mmcnn.console.layout import aligned
from mmcnn.errors import UsageError
from mmcnn.evaluation.best_f1 import best_f1_score
from mmcnn.evaluation.coco_summary import (
    LIMITS,
    checked_limits,
    checked_thresholds,
    class_keys,
    class_rows,
    class_table,
    summary,
    summary_keys,
)
from mmcnn.evaluation.kept_detections import write_detections
from mmcnn.evaluation.matches import Objects, match
from mmcnn.evaluation.object_counts import objects_beyond, objects_of_classes
from mmcnn.nearest import nearest
from mmcnn.registry import METRICS

#: Entries of a prediction with a row for each box; the first three are always there.
_OF_BOXES = ('bboxes', 'scores', 'labels', 'masks', 'mask_scores')
#: IoU from which a detection finds an object, for the best F1.
_IOU_OF_F1 = 0.5

SUMMARY_KEYS = summary_keys()


@METRICS.register_module()
class CocoMetric(MMDetCocoMetric):
    """COCO box evaluation with the standard limits of 1, 10 and 100 detections per image and class.

    Collects results like mmdet's metric and evaluates them with hotcoco, whose numbers equal pycocotools' (mmdet's
    default limits of 100, 300 and 1000 detections leave out AR@1 and AR@10). The following are returned under the
    prefix ``coco/``, not rounded:

    - the 12 numbers ``bbox_mAP``, ``bbox_mAP_50``, ``bbox_mAP_75``, ``bbox_mAP_{s,m,l}`` (areas below 32**2, below
      96**2, and above, in pixels of the original image), ``bbox_AR@{1,10,100}``, ``bbox_AR_{s,m,l}@100``; -1, as in
      pycocotools, if the ground truth has no box of that size, and NaN if it has no box at all;
    - ``bbox_AP/<class name>`` for each class, its name on one line; NaN for a class without ground truth, which does
      not enter any mean.

    Label i is the class ``dataset_meta['classes'][i]`` and is matched with the file's categories by name. Every image
    of the file counts, also one without detections. Crowd boxes match any number of detections and are not counted
    themselves.

    Args:
        ann_file (str): COCO annotation file of the evaluated images.
        outfile_prefix (str, optional): If given, the detections are also written to ``<outfile_prefix>.bbox.json`` in
            COCO's result format.
        collect_device (str): 'cpu' or 'gpu': where the ranks of a distributed run exchange results.
        prefix (str, optional): Prefix of the keys. Default: 'coco'.
        classes (Sequence[str], optional): The classes to evaluate; detections of the others are dropped.
            Default: all.
        metric (str | Sequence[str]): 'bbox', the only supported value of mmdet's key.
        classwise (bool): Whether to return the AP of each class.
        proposal_nums (Sequence[int]): Limits other than 1, 10 and 100: ``bbox_AR@<limit>`` for each and
            ``bbox_AR_{s,m,l}@<largest limit>``. AP counts 100 detections if 100 is among them, else the largest.
        iou_thrs (float | Sequence[float], optional): IoU thresholds over which AP and AR are averaged, instead of 0.5,
            0.55 ... 0.95. AP50 and AP75 are -1 if 0.5 and 0.75 are not among them.
        metric_items (Sequence[str], optional): Which of the 12 numbers to return, with or without ``bbox_``.
        format_only (bool): Only write the detections, for a test server, and return nothing. Needs
            ``outfile_prefix``; the file needs no annotations.
        backend_args (dict, optional): How MMEngine reads ``ann_file`` if it is not on the disk.
        sort_categories (bool): mmdet's key, without effect: the order of categories does not matter here.
        use_mp_eval (bool): mmdet's key, without effect: hotcoco always uses all cores.
        detections_file (str, optional): If given, each evaluation writes its detections there, replacing those of the
            last one (:mod:`mmcnn.evaluation.kept_detections`).

    Attributes:
        best_f1_score (float, optional): After an evaluation, in the process that computed it: the score threshold with
            the best F1 at IoU 0.5 (:func:`~mmcnn.evaluation.best_f1.best_f1_score`). None before, or if nothing was
            found. Computed on first access, for which the detections are kept.

    Raises:
        FileNotFoundError: From the constructor, if ``ann_file`` does not exist.
        UsageError: From the constructor, if an argument is invalid; when evaluating, if the file lacks a class of
            ``dataset_meta`` or an evaluated image.
    """

    def __init__(
        self,
        ann_file: str,
        outfile_prefix: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        *,
        classes: Sequence[str] | None = None,
        metric: str | Sequence[str] = 'bbox',
        classwise: bool = True,
        proposal_nums: Sequence[int] = LIMITS,
        iou_thrs: float | Sequence[float] | None = None,
        metric_items: Sequence[str] | None = None,
        format_only: bool = False,
        backend_args: Mapping | None = None,
        sort_categories: bool = False,
        use_mp_eval: bool = False,
        detections_file: str | None = None,
    ) -> None:
        if backend_args is None and not os.path.isfile(ann_file):
            raise FileNotFoundError(f'CocoMetric: the annotation file {ann_file!r} does not exist')
        if (metrics := [metric] if isinstance(metric, str) else list(metric)) != ['bbox']:
            raise UsageError(f"CocoMetric: metric={metric!r}: only boxes can be evaluated, with metric='bbox'")
        if format_only and outfile_prefix is None:
            raise UsageError('CocoMetric: format_only=True needs outfile_prefix, the path to write the detections to')
        super().__init__(
            metric=metrics, classwise=classwise, proposal_nums=checked_limits(proposal_nums),
            format_only=format_only, outfile_prefix=outfile_prefix, collect_device=collect_device, prefix=prefix,
        )  # fmt: skip
        self.iou_thrs = checked_thresholds(iou_thrs)
        self.metric_items = self._checked_items(metric_items)
        self.detections_file = detections_file
        self.ann_file = str(ann_file)
        self.classes = None if classes is None else tuple(classes)
        self._evaluated: tuple[np.ndarray, dict[int, int]] = np.empty((0, 7)), {}  # detections, number of objects
        self._has_said_limits = False
        with get_local_path(self.ann_file, backend_args=backend_args) as path:
            self._coco_api = COCO(str(path))

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Store the detections of a batch, copied from a GPU together because the host waits for each copy."""
        found = [dict(sample['pred_instances']) for sample in data_samples]
        for each in found:
            each['labels'] = each['labels'].long()  # MMDetection's SOLO has floating-point ones if it finds nothing
        for key in _OF_BOXES[:3] if found else ():
            parts = torch.cat([each[key] for each in found]).cpu().split([len(each[key]) for each in found])
            for each, part in zip(found, parts, strict=True):
                each[key] = part
        pairs = zip(data_samples, found, strict=True)
        super().process(data_batch, [{**sample, 'pred_instances': each} for sample, each in pairs])

    @cached_property
    def best_f1_score(self) -> float | None:
        """Return the attribute of the class; computed on access, because few evaluations need it."""
        detections, num_objects = self._evaluated
        objects = Objects.of(self._coco_api.dataset.get('annotations') or [])
        counted, found = match(detections, objects, _IOU_OF_F1, self.proposal_nums[-1])
        scores, categories = detections[counted, 5], detections[counted, 6]
        return best_f1_score(scores, found[counted], categories, num_objects)

    def stand_in_results(self) -> list[tuple[dict, dict]]:
        """Return what :meth:`process` stores for no image, to learn the names of the metrics."""
        return []

    def compute_metrics(self, results: Sequence[tuple[dict, dict]]) -> dict[str, float]:
        """Evaluate the results that :meth:`process` has collected.

        Args:
            results (Sequence[tuple[dict, dict]]): For each image (ground truth, prediction); the latter has ``img_id``,
                ``bboxes`` (N, 4) as xyxy in pixels of the original image, ``scores`` (N,) and ``labels`` (N,).

        Returns:
            dict[str, float]: The metrics that the class lists; empty with ``format_only``.
        """
        names = self.dataset_meta['classes']
        names = [names] if isinstance(names, str) else list(names)
        evaluated = names if self.classes is None else [name for name in names if name in self.classes]
        self.cat_ids = self._category_ids(names, evaluated)
        predictions = self._of_classes([prediction for _, prediction in results])
        self._check_images(predictions)
        if self.outfile_prefix is not None and predictions:
            os.makedirs(os.path.dirname(os.path.abspath(self.outfile_prefix)), exist_ok=True)
            self.results2json(predictions, self.outfile_prefix)
        if self.format_only:
            return {}
        cat_ids = [each for each in self.cat_ids if each is not None]
        num_objects = objects_of_classes(self._coco_api, cat_ids)
        self._say_what_limits(num_objects)

        detections = self._result_array(predictions)
        if self.detections_file is not None:
            write_detections(self.detections_file, detections, self.proposal_nums[-1])
        evaluation = COCOeval(self._coco_api, self._coco_api.load_res(detections), 'bbox')
        evaluation.params.catIds = sorted(cat_ids)
        evaluation.params.maxDets = self.proposal_nums
        if self.iou_thrs is not None:
            evaluation.params.iouThrs = self.iou_thrs
        evaluation.evaluate()
        evaluation.accumulate()
        # (IoU threshold, recall, category, area range, limit), and the same without recall.
        precision, recall = evaluation.eval['precision'], evaluation.eval['recall']
        thresholds = np.asarray(evaluation.params.iouThrs)
        metrics = summary(precision[..., self._limit_of_ap], recall, thresholds, self.proposal_nums)
        lines = evaluation.summary_lines()
        if tuple(self.proposal_nums) != LIMITS or self.iou_thrs is not None:  # for which the text would be wrong
            lines = [aligned(['', 'value'], [[key, f'{value:.3f}'] for key, value in metrics.items()])]
        print_log('\n' + '\n'.join(lines), logger='current')

        of_class = precision[:, :, np.argsort(np.argsort(cat_ids)), 0, self._limit_of_ap].mean(axis=1).T
        rows = class_rows(evaluated, [num_objects[each] for each in cat_ids], of_class, thresholds)
        if self.classwise:
            print_log('\n' + class_table(rows), logger='current')
        self.__dict__.pop('best_f1_score', None)
        self._evaluated = detections, num_objects
        if not any(num_objects.values()):
            metrics = dict.fromkeys(metrics, float('nan'))
        if self.metric_items is not None:
            metrics = {key: metrics[key] for key in self.metric_items}
        if self.classwise:
            metrics.update(
                {f'bbox_AP/{key}': float(row[2]) for key, row in zip(class_keys(evaluated), rows, strict=True)}
            )
        return metrics

    @property
    def _limit_of_ap(self) -> int:
        """Return the index of AP's limit: COCO's 100 if it is among the limits, else the largest."""
        return self.proposal_nums.index(100) if 100 in self.proposal_nums else -1

    def _checked_items(self, items: Sequence[str] | None) -> list[str] | None:
        if items is None:
            return None
        known = summary_keys(self.proposal_nums)
        keys = [item if item in known else f'bbox_{item}' for item in ([items] if isinstance(items, str) else items)]
        for item, key in zip(items, keys, strict=False):
            if key not in known:
                raise UsageError(f'CocoMetric: metric_items has {item!r}; {nearest(key, known)}')
        return keys

    def _say_what_limits(self, num_objects: Mapping[int, int]) -> None:
        """Report once that there is nothing to measure, or that there are more objects than AP counts detections.

        Args:
            num_objects: category id -> number of objects.
        """
        if self._has_said_limits:
            return
        self._has_said_limits = True
        limit = self.proposal_nums[self._limit_of_ap]
        if not any(num_objects.values()):  # the numbers show it, too
            text = f'{self.ann_file} has no objects of the evaluated classes: there is nothing to measure'
            print_log(f'CocoMetric: {text}', logger='current')
        elif beyond := objects_beyond(self._coco_api, limit, num_objects):
            images, classes = ({key[i] for key in beyond} for i in (0, 1))
            text = (
                f'images with more than {limit} objects of a class: {len(images):,}, classes: {len(classes):,}; AP '
                f'counts {limit} detections of a class in an image and stays below 1 there. '
                f'val_evaluator.proposal_nums=(1,10,{max(beyond.values())}) counts more, unlike COCO'
            )
            print_log(f'CocoMetric: {text}', logger='current', level=logging.WARNING)

    def _category_ids(self, names: Sequence[str], evaluated: Sequence[str]) -> list[int | None]:
        """Return the category of each label; None for a class that is not evaluated."""
        ids = {category['name']: category['id'] for category in self._coco_api.cats.values()}
        missing = [name for name in evaluated if name not in ids]
        if missing:
            raise UsageError(
                f'CocoMetric: {self.ann_file} has no category named {", ".join(map(repr, missing))}; it has '
                f"{', '.join(map(repr, ids))}. The classes of the dataset's metainfo and of the file must agree"
            )
        unknown = [name for name in self.classes or () if name not in names]
        if unknown or not evaluated:
            raise UsageError(f'CocoMetric: classes={self.classes}: {nearest((unknown or [""])[0], names)}')
        return [ids[name] if name in evaluated else None for name in names]

    def _of_classes(self, predictions: Sequence[dict]) -> list[dict]:
        """Return the predictions of the evaluated classes."""
        if None not in self.cat_ids:
            return list(predictions)
        wanted = np.array([each is not None for each in self.cat_ids])
        return [
            {key: value[wanted[each['labels']]] if key in _OF_BOXES else value for key, value in each.items()}
            for each in predictions
        ]

    def _check_images(self, predictions: Sequence[dict]) -> None:
        unknown = sorted({prediction['img_id'] for prediction in predictions} - set(self._coco_api.get_img_ids()))
        if unknown:
            raise UsageError(
                f'CocoMetric: {len(unknown)} evaluated images, first the one with id {unknown[0]!r}, are not in '
                f'{self.ann_file}; the data loader and the evaluator must use the same annotation file'
            )

    def _result_array(self, predictions: Sequence[dict]) -> np.ndarray:
        """Return all detections as rows (image id, x, y, w, h, score, category id), in float64."""
        if not predictions:
            return np.empty((0, 7))
        boxes, scores, labels = (
            np.concatenate([each[key] for each in predictions], axis=None) for key in ('bboxes', 'scores', 'labels')
        )
        rows = np.empty((len(scores), 7))
        numbers = [len(each['scores']) for each in predictions]
        rows[:, 0] = np.repeat([each['img_id'] for each in predictions], numbers)
        rows[:, 1:5] = boxes.reshape(-1, 4)
        rows[:, 3:5] -= rows[:, 1:3]
        rows[:, 5] = scores
        cat_ids = np.array([-1 if each is None else each for each in self.cat_ids], dtype=np.float64)
        rows[:, 6] = cat_ids[labels]
        return rows
