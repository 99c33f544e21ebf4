"""The check of an export: which differences between a file's detections and PyTorch's it accepts."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmcnn.deployment import check
from mmcnn.deployment.matching import RANDOM, TOLERANCES, Matches, match
from mmcnn.errors import ExportError
from mmcnn.inference.detections import Detections

EXACT = TOLERANCES['fp32']


def detections(*rows):
    """Make detections from rows (x1, y1, score, label), with boxes of 10 x 10 pixels."""
    corners = np.float32([row[:2] for row in rows]).reshape(-1, 2)
    scores, labels = np.float32([row[2] for row in rows]), np.int64([row[3] for row in rows])
    return Detections(np.concatenate([corners, corners + 10], axis=1), scores, labels, [str(label) for label in labels])


def plan_of_detector(batch):
    """Return a stand-in for the plan of a trained detector, with the fields that a comparison reads."""
    return SimpleNamespace(
        batch=batch,
        fit=SimpleNamespace(apply=lambda image: SimpleNamespace(scale_factor=(1.0, 1.0))),
        found=SimpleNamespace(checkpoint={}),
        options=SimpleNamespace(precision='fp32'),
        metadata=lambda: SimpleNamespace(test_cfg=dict(score_thr=0.001, max_per_img=10_000)),
    )


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
        # A file without suppression finds all of PyTorch's detections, and more.
        ([*THEIRS, (0.5, 0, 0.8, 0)], 3, 1),
        ([*THEIRS, (0, 0, 0.9, 0)], 3, 1),
        ([*THEIRS, (40.5, 0, 0.05, 0)], 3, 1),
        ([(np.nan, 0, 0.9, 0), *THEIRS[1:]], 2, 1),
    ],
)
def test_others_do_not(ours, found, more):
    matches = compared(ours)
    assert (matches.found, matches.more) == (found, more) and not EXACT.allows(matches)
    assert (f'{more} are only in the file' in str(matches)) == bool(more)


def test_scores_that_are_not_finite_are_no_match():
    assert not EXACT.allows(compared(THEIRS, theirs=[(0, 0, np.nan, 0), *THEIRS[1:]]))


def test_what_is_there_by_chance_is_left_aside():
    at_the_threshold = (60, 0, 0.001005, 0)
    assert EXACT.allows(compared([*THEIRS, at_the_threshold]))
    left = compared(THEIRS, theirs=[*THEIRS, at_the_threshold])
    assert (left.every, left.aside) == (3, 1) and '; 1 at the threshold or the last' in str(left)
    assert EXACT.allows(compared(THEIRS, theirs=[*THEIRS, at_the_threshold]))
    # In an image with max_per_img detections, the last one is arbitrary if two have equal scores.
    assert EXACT.allows(compared([*THEIRS[:2], (70, 0, 0.1, 1)], max_per_img=3))


@pytest.mark.parametrize(('second', 'allowed'), [(THEIRS, True), (THEIRS[1:], False), ([*THEIRS, THEIRS[0]], False)])
def test_images_one_by_one_and_together(second, allowed, monkeypatch):
    """Each detection counts once, and both the single images and the batch must match."""

    class Runner:
        def __init__(self, *args, **kwargs):
            pass

        def __call__(self, image):
            return detections(*THEIRS)

        def batch(self, images):
            return [detections(*second) for _ in images]

    monkeypatch.setattr(check, 'Detector', Runner)
    monkeypatch.setattr(check, 'reference', lambda plan, image: detections(*THEIRS))
    matches = check.compare_detections(plan_of_detector(batch=None), None, [None, None])
    assert matches.every == 6
    assert EXACT.allows(matches) == allowed


@pytest.mark.parametrize(
    ('numbers', 'allowed', 'undecided'),
    [
        (dict(every=410, found=410), True, False),
        (dict(every=410, found=409), False, True),
        (dict(every=410, found=410, more=1), False, True),
        (dict(every=410, found=409, more=1), False, True),  # replaced by another one
        (dict(every=410, found=408), False, False),  # even two in a thousand would be too many
        (dict(every=999, found=998), False, True),
        (dict(every=1000, found=999), True, False),
        (dict(every=410, found=409, sure=100, found_sure=99), False, False),  # no sure detection may be missed
    ],
)
def test_of_few_detections_a_miss_says_nothing(numbers, allowed, undecided):
    matches = Matches(**{**dict(sure=0, found_sure=0, more_sure=0, more=0, box=0.0, score=0.0), **numbers})
    assert (EXACT.allows(matches), EXACT.undecided(matches)) == (allowed, undecided)


@pytest.mark.parametrize('tolerance', [*TOLERANCES.values(), *RANDOM.values()])
@pytest.mark.parametrize('thousands', [1, 2, 3, 7])
def test_as_many_may_be_missed_as_may_be_besides(tolerance, thousands):
    count = 1000 * thousands
    most, sure = round((1 - tolerance.every) * count), round((1 - tolerance.sure) * count)
    numbers = dict(sure=count, every=count, box=0.0, score=0.0)
    for other in (0, 1):
        missed = dict(found=count - most - other, found_sure=count - sure, more=0, more_sure=0)
        besides = dict(found=count, found_sure=count, more=most + other, more_sure=sure)
        assert tolerance.allows(Matches(**numbers, **missed)) is tolerance.allows(Matches(**numbers, **besides))
        assert tolerance.allows(Matches(**numbers, **besides)) is not bool(other)


@pytest.mark.parametrize(('number', 'allowed', 'looked_at'), [(400, True, 4), (140, False, 7), (1000, True, 2)])
def test_more_images_are_looked_at_where_there_are_too_few_detections(number, allowed, looked_at, checked_images):
    """One of the first image's ``number`` detections is missed."""
    rows = [(20 * i, 0, 0.1, 0) for i in range(number)]
    plan, ours = checked_images(rows)
    seen = []
    more = (seen.append(i) or np.full((1, 1, 3), i, np.uint8) for i in range(5))
    ours[None] = rows[1:]
    matches = check.compare_detections(plan, None, [np.zeros((1, 1, 3), np.uint8), None], more)
    assert EXACT.allows(matches) is allowed
    assert matches.images == 2 + len(seen) == looked_at and matches.every == number * looked_at


@pytest.mark.parametrize(('number', 'looked_at'), [(7, 3), (3, 6), (20, 1)])
def test_more_images_are_looked_at_until_there_are_enough_to_compare(number, looked_at, checked_images):
    plan, _ = checked_images([(20 * i, 0, 0.5, 0) for i in range(number)])
    image = np.zeros((1, 1, 3), np.uint8)
    matches = check.compare_detections(plan, None, [image], [image] * 5)
    assert EXACT.allows(matches) and (matches.every, matches.images) == (number * looked_at, looked_at)


def test_a_fault_is_not_looked_for_in_more_images(checked_images):
    plan, ours = checked_images(THEIRS)
    ours[None] = THEIRS[2:]

    def more():
        raise AssertionError('two are missed already')
        yield

    assert not EXACT.allows(check.compare_detections(plan, None, [None], more()))


@pytest.fixture
def checked_images(monkeypatch):
    """``checked_images(rows)``: a plan of a detector that finds ``rows`` in every image, and the file's detections
    by image (key None: for images that are None)."""

    def use(rows):
        ours = {}

        def found(image):
            return detections(*(ours.get(None, rows) if image is None else rows))

        monkeypatch.setattr(check, '_detector', lambda path: found)
        monkeypatch.setattr(check, 'reference', lambda plan, image: detections(*rows))
        return plan_of_detector(batch=1), ours

    return use


def test_boxes_before_nms_are_compared_by_value():
    boxes, scores = np.random.default_rng(0).uniform(0, 100, (2, 500, 4)), np.full((2, 500, 3), 0.5)
    boxes[..., 2:] += boxes[..., :2]
    assert EXACT.alike((boxes, boxes + 9e-4), (scores, scores + 9e-6)) == 1.0
    for shifted, other in (
        (boxes + 2e-3 + 2e-5 * boxes, scores),
        (boxes, scores + np.array([0, 0, 2e-5])),
        (boxes * np.nan, scores),
    ):
        assert EXACT.alike((boxes, shifted), (scores, other)) == 0.0
    shifted = boxes.copy()
    shifted[0, 7, 1] += 1
    assert EXACT.alike((boxes, shifted), (scores, scores)) == 1 - 1 / 1000


def test_values_at_the_second_size_decide(monkeypatch):
    """The file is only right at the first size."""
    boxes, scores = torch.rand(1, 50, 4) * 100, torch.rand(1, 50, 2)
    sizes = []
    plan = SimpleNamespace(
        form='decoded',
        dynamic='all',
        size=(64, 64),
        other_size=(96, 32),
        batch=1,
        inputs=lambda images, size: sizes.append(size) or (),
        feeds=lambda inputs: {},
        module=lambda: (boxes, scores),
        options=SimpleNamespace(precision='fp32'),
        found=SimpleNamespace(checkpoint={}),
    )
    right = SimpleNamespace(run=lambda feeds: [boxes.numpy(), scores.numpy()])
    assert check._compare_outputs(plan, right, [None]) == (0.0, '64 x 64 and 96 x 32 px in batches of 1', None)
    wrong = SimpleNamespace(run=lambda feeds: [boxes.numpy() + 0.01 * (sizes[-1] == (96, 32)), scores.numpy()])
    *_, failure = check._compare_outputs(plan, wrong, [None])
    assert '0.00% of the boxes at 96 x 32 px in a batch of 1 are the same' in failure


@pytest.mark.parametrize(
    ('precision', 'data', 'checkpoint', 'ends'),
    [
        ('fp16', None, {}, 'scores 0; with data=PATH, AP on its images decides'),
        ('fp16', 'bccd', {}, None),  # AP decides
        ('fp32', 'bccd', {}, 'scores 0'),
        ('fp16', 'bccd', None, 'scores 0'),  # random weights have no AP
    ],
)
def test_detections_in_half_are_weighed_by_ap(precision, data, checkpoint, ends, monkeypatch):
    matches = Matches(sure=105, found_sure=100, more_sure=5, every=128, found=123, more=5, box=0.0, score=0.0, images=8)
    monkeypatch.setattr(check, 'open_session', lambda *args: None)
    monkeypatch.setattr(check, '_compare_outputs', lambda *args: (0.0, 'one by one', None))
    monkeypatch.setattr(check, 'compare_detections', lambda *args: matches)
    monkeypatch.setattr(check, 'time_ratio', lambda *args: 1.0)
    plan = SimpleNamespace(
        form='nms',
        found=SimpleNamespace(task='detection', checkpoint=checkpoint),
        options=SimpleNamespace(precision=precision, data=data, img_size=(64, 64)),
        input_names=['images'],
    )
    if ends is None:
        checked = check.check_export(plan, Path('a.onnx'), [None])
        assert checked.failure == f'the results of the file differ from PyTorch: {matches}'
        assert checked.summary == f'8 images; one by one; {matches}'
    else:
        monkeypatch.setitem(RANDOM, 'fp16', TOLERANCES['fp16'])
        with pytest.raises(ExportError, match=f'differ from PyTorch: 100 of 105 detections .*{ends}$'):
            check.check_export(plan, Path('a.onnx'), [None])


@pytest.mark.parametrize(
    ('precision', 'data', 'checkpoint', 'ends'),
    [
        ('fp16', None, {}, 'differ; with data=PATH, AP on its images decides'),
        ('fp16', 'bccd', {}, None),  # AP decides
        ('fp32', 'bccd', {}, 'differ'),
        ('fp16', 'bccd', None, 'differ'),  # random weights have no AP
    ],
)
def test_boxes_before_nms_in_half_are_weighed_by_ap(precision, data, checkpoint, ends, monkeypatch):
    """AP decides even though the detections after NMS match PyTorch's."""
    matches = Matches(sure=9, found_sure=9, more_sure=0, every=40, found=40, more=0, box=0.0, score=0.0, images=8)
    monkeypatch.setattr(check, 'open_session', lambda *args: None)
    monkeypatch.setattr(check, '_compare_outputs', lambda *args: (0.0, 'one by one', 'boxes differ'))
    monkeypatch.setattr(check, 'compare_detections', lambda *args: matches)
    monkeypatch.setattr(check, 'time_ratio', lambda *args: 1.0)
    plan = SimpleNamespace(
        form='decoded',
        found=SimpleNamespace(task='detection', checkpoint=checkpoint),
        options=SimpleNamespace(precision=precision, data=data, img_size=(64, 64)),
        input_names=['images'],
    )
    if ends is None:
        assert check.check_export(plan, Path('a.onnx'), [None]).failure == 'boxes differ'
    else:
        with pytest.raises(ExportError, match=f'^boxes {ends}$'):
            check.check_export(plan, Path('a.onnx'), [None])
