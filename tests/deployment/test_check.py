"""The check of an export: which differences between a file's detections and PyTorch's it lets pass."""

from types import SimpleNamespace

import numpy as np
import pytest

from mmcnn.deployment import check
from mmcnn.deployment.matching import TOLERANCES, match
from mmcnn.inference.detections import Detections

EXACT = TOLERANCES['fp32']


def detections(*rows):
    """Each row is (x1, y1, score, label), a box of 10 x 10 pixels."""
    corners = np.float32([row[:2] for row in rows]).reshape(-1, 2)
    scores, labels = np.float32([row[2] for row in rows]), np.int64([row[3] for row in rows])
    return Detections(np.concatenate([corners, corners + 10], axis=1), scores, labels, [str(label) for label in labels])


THEIRS = [(0, 0, 0.9, 0), (20, 0, 0.5, 1), (40, 0, 0.1, 0)]


def compared(ours, theirs=THEIRS, score_thr=0.001, max_per_img=300):
    return match([detections(*theirs)], [detections(*ours)], [(1.0, 1.0)], EXACT, score_thr, max_per_img)


def test_the_same_detections_pass():
    matches = compared([(0.0005, 0, 0.9, 0), *THEIRS[1:]])
    assert (matches.sure, matches.found_sure, matches.every, matches.found) == (2, 2, 3, 3)
    assert (matches.more_sure, matches.more) == (0, 0) and EXACT.allows(matches)
    assert matches.box == pytest.approx(0.0005, rel=1e-3) and 'only' not in str(matches)


@pytest.mark.parametrize(
    ('ours', 'found', 'more'),
    [
        (THEIRS[1:], 2, 0),
        ([(0.002, 0, 0.9, 0), *THEIRS[1:]], 2, 1),
        ([(0, 0, 0.9001, 0), *THEIRS[1:]], 2, 1),
        ([(0, 0, 0.9, 1), *THEIRS[1:]], 2, 1),
        # A file that does not suppress finds all of PyTorch's, and more.
        ([*THEIRS, (0.5, 0, 0.8, 0)], 3, 1),
        ([*THEIRS, (0, 0, 0.9, 0)], 3, 1),
        ([*THEIRS, (40.5, 0, 0.05, 0)], 3, 1),
        ([(np.nan, 0, 0.9, 0), *THEIRS[1:]], 2, 1),
    ],
)
def test_others_do_not(ours, found, more):
    matches = compared(ours)
    assert (matches.found, matches.more) == (found, more) and not EXACT.allows(matches)
    assert (f'{more} are in the file only' in str(matches)) == bool(more)


def test_scores_that_are_not_finite_are_no_match():
    assert not EXACT.allows(compared(THEIRS, theirs=[(0, 0, np.nan, 0), *THEIRS[1:]]))


def test_what_is_there_by_chance_is_left_aside():
    at_the_threshold = (60, 0, 0.001005, 0)
    assert EXACT.allows(compared([*THEIRS, at_the_threshold]))
    assert EXACT.allows(compared(THEIRS, theirs=[*THEIRS, at_the_threshold]))
    # Of an image that has as many as it may have, the last one is another where two are as good as each other.
    assert EXACT.allows(compared([*THEIRS[:2], (70, 0, 0.1, 1)], max_per_img=3))


@pytest.mark.parametrize(('second', 'allowed'), [(THEIRS, True), (THEIRS[1:], False), ([*THEIRS, THEIRS[0]], False)])
def test_images_one_by_one_and_together(second, allowed, monkeypatch):
    """Each detection counts once, and both rounds have to be right."""
    metadata = SimpleNamespace(test_cfg=dict(score_thr=0.001, max_per_img=300))

    class Runner:
        def __init__(self, *args, **kwargs):
            pass

        def __call__(self, image):
            return detections(*THEIRS)

        def batch(self, images):
            return [detections(*second) for _ in images]

    plan = SimpleNamespace(
        batch=None,
        fit=SimpleNamespace(apply=lambda image: SimpleNamespace(scale_factor=(1.0, 1.0))),
        found=SimpleNamespace(checkpoint={}),
        options=SimpleNamespace(precision='fp32'),
        metadata=lambda: metadata,
    )
    monkeypatch.setattr(check, 'Detector', Runner)
    monkeypatch.setattr(check, 'reference', lambda plan, image: detections(*THEIRS))
    matches = check.compare_detections(plan, None, [None, None])
    assert matches.every == 6
    assert EXACT.allows(matches) == allowed
