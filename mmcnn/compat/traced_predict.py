"""Prevents the tracing of a detector's ``predict``: the trace would silently be wrong for every other image.

``torch.jit.trace``, and ``torch.onnx.export(dynamo=False)`` with it, records what happened for one image: how many
candidates remained, which of them were suppressed, where the boxes were clipped (mmdet 3.3.0; a traced detector
returned 220 boxes of another image instead of 217). Maps, which ``mode='tensor'`` of a single-stage detector returns,
can be traced; those of Faster R-CNN also depend on the proposals of one image.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

import torch

from mmcnn.errors import UsageError


def install() -> None:
    """Make all dense heads raise an error if they predict while traced, once; their base class has been imported."""
    # An import would wait for mmdet.models.
    head = sys.modules['mmdet.models.dense_heads.base_dense_head'].BaseDenseHead
    original = head.predict
    if hasattr(original, 'refuses_tracing'):
        return

    @functools.wraps(original)
    def predict(self: Any, *args: Any, **kwargs: Any) -> Any:
        if torch.jit.is_tracing():
            raise UsageError(
                f'the detections of {type(self).__name__} cannot be traced, since the boxes of this image would '
                'become part of the graph; `mmcnn export` writes a graph that decodes and suppresses boxes'
            )
        return original(self, *args, **kwargs)

    predict.refuses_tracing = True
    head.predict = predict
