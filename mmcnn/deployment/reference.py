"""PyTorch's detections on the canvas of an exported file."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample

from mmcnn.deployment.plan import Plan
from mmcnn.fit import Fitted
from mmcnn.inference.detections import Detections


def reference(plan: Plan, image: np.ndarray) -> Detections:
    """Return PyTorch's detections in an image (H, W, 3) uint8 BGR, on the canvas that the runner uses."""
    boxes, scores, labels = predicted(plan, image)
    whole = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    boxes, scores, labels = boxes[whole], scores[whole], labels[whole]
    return Detections(boxes, scores, labels, [plan.found.classes[label] for label in labels])


@torch.no_grad()
def predicted(plan: Plan, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the same as boxes (K, 4), scores (K,) and labels (K,), including boxes without area."""
    network = plan.found.network
    found = network(**prepared(network, plan.fit.apply(image, np.float32)), mode='predict')[0].pred_instances
    return tuple(found[name].numpy() for name in ('bboxes', 'scores', 'labels'))


def prepared(network: torch.nn.Module, fitted: Fitted) -> dict[str, Any]:
    """Return an image on its canvas as input for a detector of MMDetection."""
    corner = fitted.pad == (0, 0)
    meta = dict(
        img_shape=fitted.size if corner else fitted.image.shape[:2],
        ori_shape=fitted.original,
        scale_factor=fitted.scale_factor,
        pad_param=fitted.pad,
    )
    inputs = torch.from_numpy(np.ascontiguousarray(fitted.image.transpose(2, 0, 1)))
    return network.data_preprocessor(dict(inputs=[inputs], data_samples=[DetDataSample(metainfo=meta)]), False)
