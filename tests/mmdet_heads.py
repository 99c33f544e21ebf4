"""Assertions for tests of heads that compute a whole batch, while MMDetection's compute image by image."""

import torch


def assert_same(found, expected):
    """Assert equal instances per image: number, order, boxes, types, and scores up to the rounding of sigmoid.

    On the CPU, sigmoid rounds the last values of a tensor differently.
    """
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours) == len(theirs)
        torch.testing.assert_close(ours.scores, theirs.scores, rtol=2e-7, atol=0)
        for name in ('bboxes', 'labels') if len(ours) else ('bboxes',):
            assert ours[name].dtype == theirs[name].dtype and torch.equal(ours[name], theirs[name]), name
