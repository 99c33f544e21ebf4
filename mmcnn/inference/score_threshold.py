"""The score threshold of boxes that enter NMS."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, MutableMapping
from typing import Any

from torch import nn

#: NMS of these kinds goes through boxes by their scores: what one that is left out would have suppressed is left out,
#: too, so that all others are as before.
_BY_SCORE = ('nms', 'iou', 'diou', 'greedy_diou')
#: A head compares in its own precision, of which the last bits are left to whoever takes the boxes.
_MARGIN = 0.98


@contextlib.contextmanager
def boxes_from(network: nn.Module, score: float) -> Iterator[None]:
    """Lets a detector's NMS see only boxes that can have a score, which saves most of its time.

    Post-processing as configs have it keeps boxes from a score of 0.001 on, which COCO's AP counts; who draws those
    above 0.25 need not have the others compared with each other. The boxes above the score are the same.

    Args:
        network: a detector; one whose post-processing is not known is left as it is.
        score: the lowest that is wanted, 0 to 1.
    """
    cfg = _post_processing(network)
    before = None if cfg is None else cfg.get('score_thr')
    if before is None or before >= _MARGIN * score:
        yield
        return
    cfg['score_thr'] = _MARGIN * score
    try:
        yield
    finally:
        cfg['score_thr'] = before


def _post_processing(network: nn.Module) -> MutableMapping[str, Any] | None:
    """Return the settings of the last NMS of a detector; None: there are none, or it does not go by score alone."""
    head = getattr(network, 'roi_head', None) or getattr(network, 'bbox_head', None)
    cfg = getattr(head, 'test_cfg', None)
    if not isinstance(cfg, MutableMapping) or (cfg.get('nms') or {}).get('type') not in _BY_SCORE:
        return None
    return cfg
