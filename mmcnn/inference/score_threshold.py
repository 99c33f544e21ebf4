"""The score threshold of boxes that enter NMS."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, MutableMapping
from typing import Any

from torch import nn

#: NMS of these kinds goes through boxes by score: boxes that would be suppressed only by dropped ones are dropped, too,
#: so the others are unchanged.
_BY_SCORE = ('nms', 'iou', 'diou', 'greedy_diou')
#: A head compares in its own precision, so the last bits are left to the caller.
_MARGIN = 0.98


@contextlib.contextmanager
def boxes_from(network: nn.Module, score: float) -> Iterator[None]:
    """Make a detector's NMS ignore boxes that cannot reach a score, which saves most of its time.

    Configs usually keep boxes from a score of 0.001 on, which COCO's AP counts; if only those above 0.25 are drawn, the
    others need not be compared with each other. The boxes above the score are the same.

    Args:
        network: a detector; one with unknown post-processing is left unchanged.
        score: lowest score needed, 0 to 1.
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
    """Return the settings of the last NMS of a detector; None: there are none, or it does not use score alone."""
    head = getattr(network, 'roi_head', None) or getattr(network, 'bbox_head', None)
    cfg = getattr(head, 'test_cfg', None)
    if not isinstance(cfg, MutableMapping) or (cfg.get('nms') or {}).get('type') not in _BY_SCORE:
        return None
    return cfg
