"""Top-1 and top-5 accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from mmcnn.registry import METRICS


@METRICS.register_module()
class TopK(BaseMetric):
    """Percentage of images whose class is among the k best scores: ``accuracy/top1``, ``accuracy/top5``.

    A k larger than the number of classes is reduced to it, with one message. Scores that are equal or NaN count against
    the true class.

    Args:
        topk: The numbers k.
        collect_device: 'cpu' or 'gpu': where the ranks of a distributed run exchange results.
        prefix: Prefix of the keys.

    Raises:
        ValueError: At construction, for a k below 1.
    """

    default_prefix = 'accuracy'

    def __init__(self, topk: Sequence[int] = (1, 5), collect_device: str = 'cpu', prefix: str | None = None) -> None:
        if not topk or min(topk) < 1:
            raise ValueError(f'TopK: topk is {tuple(topk)}; it takes numbers of at least 1')
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.topk = tuple(topk)

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Note the rank of each image's class, 0 for the best.

        Args:
            data_batch: not used.
            data_samples: dicts with ``pred_scores`` (num_classes,) and ``gt_label``.
        """
        for sample in data_samples:
            scores, label = sample['pred_scores'], int(sample['gt_label'])
            worse = int(torch.count_nonzero(scores < scores[label]))
            self.results.append((len(scores) - 1 - worse, len(scores)))

    def stand_in_results(self) -> list[tuple[int, int]]:
        """Return what :meth:`process` stores for an image, to learn the names of the metrics."""
        return [(0, len(self.dataset_meta['classes']))]

    def compute_metrics(self, results: Sequence[tuple[int, int]]) -> dict[str, float]:
        """Return percentages from (rank, number of classes) of all images."""
        ranks, num_classes = np.array([rank for rank, _ in results]), results[0][1]
        cut = tuple(dict.fromkeys(min(k, num_classes) for k in self.topk))
        if cut != self.topk:
            print_log(
                f'there are {num_classes} classes: top-{max(self.topk)} is reduced to top-{max(cut)}', logger='current'
            )
            self.topk = cut
        metrics = {f'top{k}': 100.0 * float(np.mean(ranks < k)) for k in self.topk}
        numbers = ', '.join(f'top-{k} {metrics[f"top{k}"]:.2f} %' for k in self.topk)
        print_log(f'{numbers} of {len(ranks):,} images', logger='current')
        return metrics
