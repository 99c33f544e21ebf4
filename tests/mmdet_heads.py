"""What the tests of heads share that compute for a batch what MMDetection's compute image by image."""

import torch


def assert_same(found, expected):
    """Instances of each image: equal in number, order, boxes and types, and scores as far as sigmoid rounds alike.

    On the CPU it rounds the last numbers of a tensor in another way than the others.
    """
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours) == len(theirs)
        torch.testing.assert_close(ours.scores, theirs.scores, rtol=2e-7, atol=0)
        for name in ('bboxes', 'labels') if len(ours) else ('bboxes',):
            assert ours[name].dtype == theirs[name].dtype and torch.equal(ours[name], theirs[name]), name
