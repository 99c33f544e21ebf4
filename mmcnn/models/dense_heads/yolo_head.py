"""The anchor-based YOLO head; YOLOv4 and YOLOv5 are settings of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmcnn.models.layers import ConvNormAct
from mmcnn.models.task_modules import LevelOutput, host_device
from mmcnn.ops import nms_of_images
from mmcnn.registry import MODELS, TASK_UTILS

from .label_range import LabelRange
from .placement import placed


@MODELS.register_module()
class YOLOHead(BaseDenseHead):
    """An anchor-based head on any number of levels: box, objectness and class logits from a 1x1 convolution per level.

    Channel order of the prediction maps: ``anchor * (5 + classes) + (x, y, w, h, objectness, class 0, ...)``, as in
    Darknet, YOLOv5 and MMDetection's YOLOV3Head, so that weights can be copied without a permutation.

    Args:
        num_classes: number of classes.
        in_channels: number of channels of each level's map, fine to coarse.
        anchors: for each level, (width, height) of each anchor in pixels of the network's input.
        strides: stride of each level in pixels.
        bridge: whether a 3x3 to twice the channels precedes each prediction (Darknet's heads); YOLOv5 has none.
        bbox_coder: see :class:`~mmcnn.models.task_modules.YOLOGridCoder`.
        loss: :class:`~mmcnn.models.losses.YOLOMeanLoss`, :class:`~mmcnn.models.losses.DarknetLoss`, or your own, which
            receives positives only unless its ``forward`` has a true attribute ``reads_valid``.
        norm_cfg: MMEngine config of the bridge's normalisation.
        act_cfg: MMEngine config of the bridge's activation.
        train_cfg: ``dict(assigner=...)``.
        test_cfg: ``score_thr``; ``nms=dict(type='iou' | 'greedy_diou' | 'diou', iou_threshold=...)``; ``nms_pre``, the
            number of candidates kept before NMS; ``max_per_img``; ``multi_label``: whether one box may have several
            classes.
        init_cfg: MMEngine initialisation.

    Raises:
        ValueError: the lists of levels differ in length, or there are no classes.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        anchors: Sequence[Sequence[tuple[float, float]]],
        strides: Sequence[int],
        bridge: bool = True,
        bbox_coder: dict | None = None,
        loss: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not (len(in_channels) == len(anchors) == len(strides)):
            raise ValueError(
                f'in_channels, anchors and strides need one entry per level, got {len(in_channels)}, {len(anchors)} '
                f'and {len(strides)}'
            )
        if num_classes < 1:
            raise ValueError(f'num_classes={num_classes} must be at least 1')
        self.num_classes = num_classes
        self.label_range = LabelRange(num_classes)
        self.register_state_dict_post_hook(_labels_are_classes)
        self.in_channels = tuple(in_channels)
        self.strides = tuple(strides)
        self.anchors = [[(float(w), float(h)) for w, h in level] for level in anchors]
        self.bbox_coder = TASK_UTILS.build(bbox_coder or dict(type='mmcnn.YOLOGridCoder'))
        self.criterion = MODELS.build(loss or dict(type='mmcnn.YOLOMeanLoss'))
        self.assigner = TASK_UTILS.build((train_cfg or {}).get('assigner') or dict(type='mmcnn.RatioAssigner'))
        self.test_cfg = {
            'score_thr': 0.001,
            'nms': dict(type='iou', iou_threshold=0.65),
            'nms_pre': 30000,
            'max_per_img': 300,
            'multi_label': True,
            **(test_cfg or {}),
        }
        conv = dict(
            norm_cfg={'type': 'BN', 'eps': 1e-5, 'momentum': 0.03, **(norm_cfg or {})},
            act_cfg=act_cfg or dict(type='LeakyReLU', negative_slope=0.1, inplace=True),
        )
        self.bridges = nn.ModuleList(
            ConvNormAct(c, 2 * c, 3, **conv) if bridge else nn.Identity() for c in self.in_channels
        )
        self.predictions = nn.ModuleList(
            nn.Conv2d(2 * c if bridge else c, len(level) * (5 + num_classes), 1)
            for c, level in zip(self.in_channels, self.anchors, strict=True)
        )

    def init_weights(self) -> None:
        """Apply PyTorch's initialisation and YOLOv5's prior: 8 objects per 640 px image, classes at 0.6 / classes."""
        super().init_weights()
        for conv, stride, anchors in zip(self.predictions, self.strides, self.anchors, strict=True):
            conv.reset_parameters()
            with torch.no_grad():
                bias = conv.bias.view(len(anchors), -1)
                bias[:, 4] += math.log(8 / (640 / stride) ** 2)
                bias[:, 5:] += math.log(0.6 / (self.num_classes - 0.99999))

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor]]:
        """Map (N, C_i, H_i, W_i) of each level to logits (N, anchors_i * (5 + classes), H_i, W_i)."""
        return ([p(b(m)) for m, b, p in zip(x, self.bridges, self.predictions, strict=True)],)

    def loss_by_feat(
        self,
        logits: Sequence[Tensor],
        batch_gt_instances: Sequence[InstanceData],
        batch_img_metas: Sequence[dict],
        batch_gt_instances_ignore: Sequence[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """Return the losses of a batch.

        Crowd boxes (``batch_gt_instances_ignore``) are neither positives nor excluded: YOLOv5's data has none, and
        Darknet does not know them.

        Args:
            logits: logits of each level, from :meth:`forward`.
            batch_gt_instances: for each image ``bboxes`` (M, 4) xyxy pixels and ``labels`` (M,).
            batch_img_metas: not used.
            batch_gt_instances_ignore: not used.

        Raises:
            ValueError: a label is not a class of this head; on a GPU, a label of an earlier batch.
        """
        labels = torch.cat([instances.labels for instances in batch_gt_instances])
        self.label_range.check(labels)
        outputs = self._outputs(logits)
        sizes = [output.maps.shape[2:4] for output in outputs]
        counts = [len(instances) for instances in batch_gt_instances]
        boxes = _centred(torch.cat([instances.bboxes for instances in batch_gt_instances]).to(outputs[0].maps))
        image = host_device.copied(
            [i for i, count in enumerate(counts) for _ in range(count)], like=labels, dtype=torch.long
        )
        anchors = [output.anchors for output in outputs]
        targets = self.assigner.assign(boxes, labels, image, anchors, self.strides, sizes)
        if not getattr(self.criterion.forward, 'reads_valid', False):
            targets = [level.positives() for level in targets]  # it would count the others as well
        return self.criterion(outputs, targets, boxes.split(counts))

    def predict_by_feat(
        self,
        logits: Sequence[Tensor],
        batch_img_metas: Sequence[dict] | None = None,
        cfg: dict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """Return the detections of each image, best first.

        Args:
            logits: logits of each level, from :meth:`forward`.
            batch_img_metas: for each image ``img_shape``; with ``rescale`` also ``ori_shape``, ``scale_factor`` (w, h)
                and, after a letterbox, ``pad_param`` (top, left).
            cfg: replaces entries of ``test_cfg``.
            rescale: return boxes in the original image instead of the network's input.
            with_nms: suppress overlapping boxes.

        Returns:
            For each image ``bboxes`` (K, 4) xyxy pixels, clipped to the image, ``scores`` (K,) and ``labels`` (K,).
        """
        test_cfg = {**self.test_cfg, **(cfg or {})}
        boxes, scores = self.decode(logits)
        # On the CPU, one image at a time makes the best use of the cache; for a GPU the host waits once for all images.
        at_once = 1 if host_device.selects_freely(boxes) else len(boxes)
        parts = zip(boxes.split(at_once), scores.split(at_once), strict=True)
        found = [self._detections(*part, test_cfg, with_nms) for part in parts]
        boxes, scores, labels = (torch.cat(each) for each in zip(*(tensors for *tensors, _ in found), strict=True))
        counts = [count for *_, each in found for count in each]
        boxes = placed(boxes, counts, batch_img_metas, rescale)
        of_images = zip(boxes.split(counts), scores.split(counts), labels.split(counts), strict=True)
        return [InstanceData(bboxes=b, scores=s, labels=c) for b, s, c in of_images]

    def decode(self, logits: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return all boxes of a batch, whatever their scores.

        Args:
            logits: logits of each level, from :meth:`forward`.

        Returns:
            Boxes (N, B, 4), xyxy in pixels of the network's input, and scores (N, B, 1 + classes) from 0 to 1:
            objectness, then each class given an object.
        """
        outputs = self._outputs(logits)
        boxes = torch.cat([output.boxes().flatten(1, 3) for output in outputs], dim=1)
        scores = torch.cat([output.maps[..., 4:].flatten(1, 3) for output in outputs], dim=1).sigmoid()
        half = boxes[..., 2:] / 2
        return torch.cat([boxes[..., :2] - half, boxes[..., :2] + half], dim=-1), scores

    def _outputs(self, logits: Sequence[Tensor]) -> list[LevelOutput]:
        outputs = []
        # In float32 also under AMP: squares, exponentials and IoU overflow float16.
        precision = torch.promote_types(logits[0].dtype, torch.float32)
        every = host_device.copied(
            [anchor for level in self.anchors for anchor in level], like=logits[0], dtype=precision
        )
        parts = every.split([*map(len, self.anchors)])
        for level, (maps, anchors, stride) in enumerate(zip(logits, parts, self.strides, strict=True)):
            slots = _by_slot(maps.to(every.dtype), len(anchors))
            outputs.append(LevelOutput(slots, anchors, stride, level, self.bbox_coder))
        return outputs

    def _detections(
        self, boxes: Tensor, scores: Tensor, test_cfg: dict, with_nms: bool
    ) -> tuple[Tensor, Tensor, Tensor, list[int]]:
        """Return the boxes of :meth:`_candidates` that remain after NMS."""
        boxes, scores, labels, counts = self._candidates(boxes, scores, test_cfg)
        if not with_nms:
            return boxes, scores, labels, counts
        nms = test_cfg['nms']
        settings = dict(kind=nms.get('type', 'iou'), max_keep=test_cfg['max_per_img'])
        kept = nms_of_images(boxes, scores, labels, counts, nms['iou_threshold'], **settings)
        every = torch.cat(kept)
        return boxes[every], scores[every], labels[every], [len(each) for each in kept]

    @staticmethod
    def _candidates(boxes: Tensor, scores: Tensor, test_cfg: dict) -> tuple[Tensor, Tensor, Tensor, list[int]]:
        """Return the boxes above the score threshold, at most the best ``nms_pre`` of each image, unsorted.

        The host waits for a GPU three times, whatever the batch size: for the sizes of two selections and for the
        counts.

        Args:
            boxes: see :meth:`decode`.
            scores: see :meth:`decode`.
            test_cfg: see the class.

        Returns:
            Boxes (K, 4), scores (K,) and labels (K,), one image after the other, and the number of boxes of each image.
        """
        threshold = test_cfg['score_thr']
        image, place = (scores[..., 0] > threshold).nonzero(as_tuple=True)
        of_classes = scores[image, place]
        of_classes = of_classes[:, 1:] * of_classes[:, :1]
        if test_cfg['multi_label']:
            index, labels = (of_classes > threshold).nonzero(as_tuple=True)
            found = of_classes[index, labels]
        else:
            best, labels = of_classes.max(-1)
            (index,) = (best > threshold).nonzero(as_tuple=True)
            found, labels = best[index], labels[index]
        image, place = image[index], place[index]
        images = torch.arange(len(scores), device=scores.device)
        ends = [0, *torch.searchsorted(image, images, right=True).tolist()]
        counts = [end - start for start, end in pairwise(ends)]
        if max(counts, default=0) > test_cfg['nms_pre']:
            most, chosen = test_cfg['nms_pre'], []
            for start, some in zip(ends, found.split(counts), strict=False):
                whole = torch.arange(len(some), device=some.device)
                chosen.append(start + (some.topk(most).indices if len(some) > most else whole))
            counts, chosen = [len(each) for each in chosen], torch.cat(chosen)
            image, place, found, labels = image[chosen], place[chosen], found[chosen], labels[chosen]
        return boxes[image, place], found, labels, counts


def _by_slot(maps: Tensor, anchors: int) -> Tensor:
    """Return maps (N, A * C, H, W) as a view (N, A, H, W, C)."""
    if maps.is_contiguous(memory_format=torch.channels_last):
        # The same view by another way, whose gradient is copied only once, in the order of the map.
        return maps.permute(0, 2, 3, 1).unflatten(-1, (anchors, -1)).permute(0, 3, 1, 2, 4)
    return maps.unflatten(1, (anchors, -1)).permute(0, 1, 3, 4, 2)


def _centred(boxes: Tensor) -> Tensor:
    """Convert (M, 4) xyxy to centre x, centre y, width, height."""
    return torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], dim=-1)


def _labels_are_classes(head: YOLOHead, *_: object) -> None:
    """Refuse to write a checkpoint after a step with invalid labels."""
    head.label_range.read(wait=True)
