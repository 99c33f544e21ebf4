"""The twelve COCO numbers and the AP of every class, for boxes."""

import os
from collections.abc import Sequence

import numpy as np
from hotcoco import COCO, COCOeval
from mmdet.evaluation import CocoMetric as MMDetCocoMetric
from mmengine.logging import print_log

from mmcnn.evaluation.best_f1 import best_f1_score
from mmcnn.registry import METRICS

# mmdet's names, in the order of COCO's summary.
SUMMARY_KEYS = (
    'bbox_mAP',
    'bbox_mAP_50',
    'bbox_mAP_75',
    'bbox_mAP_s',
    'bbox_mAP_m',
    'bbox_mAP_l',
    'bbox_AR@1',
    'bbox_AR@10',
    'bbox_AR@100',
    'bbox_AR_s@100',
    'bbox_AR_m@100',
    'bbox_AR_l@100',
)


@METRICS.register_module()
class CocoMetric(MMDetCocoMetric):
    """COCO box evaluation with the standard limits of 1, 10 and 100 detections per image and class.

    Collects results as mmdet's metric does and evaluates them with hotcoco, whose numbers equal pycocotools'
    (mmdet's own default of 100, 300 and 1000 detections leaves AR@1 and AR@10 out). Returned are, under the prefix
    ``coco/`` and not rounded:

    - the 12 numbers ``bbox_mAP``, ``bbox_mAP_50``, ``bbox_mAP_75``, ``bbox_mAP_{s,m,l}`` (areas below 32**2, below
      96**2, above, in pixels of the original image), ``bbox_AR@{1,10,100}``, ``bbox_AR_{s,m,l}@100``; -1, as in
      pycocotools, where the ground truth has no box of that size;
    - ``bbox_AP/<class name>`` for each class; NaN for a class without ground truth, which no mean contains.

    Label i is the class ``dataset_meta['classes'][i]`` and is matched with the file's categories by name. Every image
    of the file counts, also one without detections. Crowd boxes match any number of detections and count as neither.

    Args:
        ann_file (str): COCO annotation file of the evaluated images.
        outfile_prefix (str, optional): If given, the detections are also written to ``<outfile_prefix>.bbox.json`` in
            COCO's result format.
        collect_device (str): 'cpu' or 'gpu': where the ranks of a distributed run exchange results.
        prefix (str, optional): Prefix of the keys. Default: 'coco'.

    Attributes:
        best_f1_score (float, optional): From the last evaluation on, in the process that computed it: the score from
            which on detections have the best F1 at IoU 0.5 (:func:`~mmcnn.evaluation.best_f1.best_f1_score`). None
            before, and where nothing was found.

    Raises:
        FileNotFoundError: From the constructor, if ``ann_file`` does not exist.
        ValueError: When evaluating, if the file lacks a class of ``dataset_meta`` or an evaluated image.
    """

    def __init__(
        self,
        ann_file: str,
        outfile_prefix: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        if not os.path.isfile(ann_file):
            raise FileNotFoundError(f'CocoMetric: the annotation file {ann_file!r} does not exist')
        super().__init__(outfile_prefix=outfile_prefix, collect_device=collect_device, prefix=prefix)
        self.ann_file = str(ann_file)
        self.best_f1_score: float | None = None
        self._coco_api = COCO(self.ann_file)

    def stand_in_results(self) -> list[tuple[dict, dict]]:
        """What :meth:`process` leaves of no image, for whoever wants to know the names of the numbers."""
        return []

    def compute_metrics(self, results: Sequence[tuple[dict, dict]]) -> dict[str, float]:
        """Evaluates what :meth:`process` has collected.

        Args:
            results (Sequence[tuple[dict, dict]]): For each image (ground truth, prediction); the latter has ``img_id``,
                ``bboxes`` (N, 4) as xyxy in pixels of the original image, ``scores`` (N,) and ``labels`` (N,).

        Returns:
            dict[str, float]: The numbers that the class names.
        """
        names = self.dataset_meta['classes']
        self.cat_ids = self._category_ids(names)
        predictions = [prediction for _, prediction in results]
        self._check_images(predictions)
        if self.outfile_prefix is not None and predictions:
            os.makedirs(os.path.dirname(os.path.abspath(self.outfile_prefix)), exist_ok=True)
            self.results2json(predictions, self.outfile_prefix)

        detections = self._result_array(predictions)
        evaluation = COCOeval(self._coco_api, self._coco_api.load_res(detections), 'bbox')
        evaluation.params.catIds = sorted(self.cat_ids)
        evaluation.params.maxDets = [1, 10, 100]
        evaluation.evaluate()
        evaluation.accumulate()
        print_log('\n' + '\n'.join(evaluation.summary_lines()), logger='current')
        metrics = {key: float(value) for key, value in zip(SUMMARY_KEYS, evaluation.stats, strict=True)}

        # (IoU threshold, recall, category, area range, detections per image); all areas and 100 detections are taken.
        precision = evaluation.eval['precision'][:, :, np.argsort(np.argsort(self.cat_ids)), 0, -1].mean(axis=1).T
        precision = np.where(precision > -1, precision, np.nan)
        counts = [len(self._coco_api.get_ann_ids(cat_ids=[cat_id], iscrowd=False)) for cat_id in self.cat_ids]
        rows = [
            (name, count, iou_ap.mean(), iou_ap[0], iou_ap[5])
            for name, count, iou_ap in zip(names, counts, precision, strict=True)
        ]
        print_log('\n' + _class_table(rows), logger='current')
        metrics.update({f'bbox_AP/{name}': float(ap) for name, _, ap, _, _ in rows})
        # The ids of detections are 1, 2, ... in the order of the rows. Those that crowds absorb have no status.
        status = evaluation.image_diagnostics(iou_thr=0.5, score_thr=0.0)['dt_status']
        counted = np.array(sorted(status), dtype=int)
        found = np.array([status[i] == 'tp' for i in counted.tolist()], dtype=bool)
        scores, cat_ids = detections[counted - 1, 5], detections[counted - 1, 6]
        self.best_f1_score = best_f1_score(scores, found, cat_ids, dict(zip(self.cat_ids, counts, strict=True)))
        return metrics

    def _category_ids(self, names: Sequence[str]) -> list[int]:
        ids = {category['name']: category['id'] for category in self._coco_api.cats.values()}
        missing = [name for name in names if name not in ids]
        if missing:
            raise ValueError(
                f'CocoMetric: {self.ann_file} has no category named {", ".join(map(repr, missing))}; it has '
                f"{', '.join(map(repr, ids))}. The classes of the dataset's metainfo and of the file must agree"
            )
        return [ids[name] for name in names]

    def _check_images(self, predictions: Sequence[dict]) -> None:
        unknown = sorted({prediction['img_id'] for prediction in predictions} - set(self._coco_api.get_img_ids()))
        if unknown:
            raise ValueError(
                f'CocoMetric: {len(unknown)} evaluated images, first the one with id {unknown[0]!r}, are not in '
                f'{self.ann_file}; the data loader and the evaluator must use the same annotation file'
            )

    def _result_array(self, predictions: Sequence[dict]) -> np.ndarray:
        """All detections as rows (image id, x, y, w, h, score, category id), in float64."""
        cat_ids = np.array(self.cat_ids, dtype=np.float64)
        rows = [np.empty((0, 7))]
        for prediction in predictions:
            boxes = prediction['bboxes'].astype(np.float64).reshape(-1, 4)
            rows.append(
                np.column_stack(
                    [
                        np.full(len(boxes), prediction['img_id'], dtype=np.float64),
                        boxes[:, :2],
                        boxes[:, 2:] - boxes[:, :2],
                        prediction['scores'],
                        cat_ids[prediction['labels']],
                    ]
                )
            )
        return np.concatenate(rows)


def _class_table(rows: Sequence[tuple[str, int, float, float, float]]) -> str:
    width = max(len('class'), *(len(name) for name, *_ in rows))
    lines = [f'{"class":<{width}}  {"boxes":>7}  {"AP":>6}  {"AP50":>6}  {"AP75":>6}']
    for name, count, *values in rows:
        lines.append('  '.join([f'{name:<{width}}', f'{count:>7}', *(f'{value:6.3f}' for value in values)]))
    return '\n'.join(lines)
