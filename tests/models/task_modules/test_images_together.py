"""NMS of several images at once against MMCV's image by image."""

import pytest
import torch
from mmcv.ops import batched_nms

from mmcnn.models.task_modules.images_together import factors_of, kept_of_images, suppresses_together


def scene(counts):
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(sum(counts), 2, generator=generator) * 60 - 15  # some reach beyond the image
    boxes = torch.cat([corners, corners + torch.rand(sum(counts), 2, generator=generator) * 40], 1)
    scores = torch.rand(sum(counts), generator=generator)
    return boxes, scores, torch.randint(0, 3, (sum(counts),), generator=generator)


@pytest.mark.parametrize(
    'nms',
    [
        dict(type='nms', iou_threshold=0.3),
        dict(iou_threshold=0.3, class_agnostic=True),
        dict(iou_threshold=0.3, split_thr=50),
    ],
)
@pytest.mark.parametrize('most', [None, 7])
def test_what_is_kept_is_mmcvs(nms, most):
    """With MMCV's shift, boxes of one class overlap those of another, except where it goes class by class."""
    counts = [80, 0, 20]
    boxes, scores, labels = scene(counts)
    kept = kept_of_images(boxes, scores, labels, counts, nms, most)
    start = 0
    for found, *image in zip(kept, *(each.split(counts) for each in (boxes, scores, labels)), strict=True):
        expected = batched_nms(*image, nms)[1][:most] if len(image[0]) else torch.zeros(0).long()
        assert torch.equal(found - start, expected)
        start += len(image[0])


@pytest.mark.parametrize(
    ('nms', 'can'),
    [
        (dict(iou_threshold=0.5), True),
        (dict(type='nms', iou_threshold=0.5, split_thr=3, class_agnostic=True), True),
        (None, False),
        (dict(type='soft_nms', iou_threshold=0.5), False),
        (dict(type='nms', iou_thr=0.5), False),
        (dict(type='nms', iou_threshold=0.5, max_num=3), False),
    ],
)
def test_what_is_suppressed_otherwise_is_known(nms, can):
    assert suppresses_together(nms) == can


def test_factors_back_to_the_image():
    factors = factors_of([dict(scale_factor=(0.5, 4.0)), dict(scale_factor=(1.0, 1.0))], like=torch.zeros(1))
    assert factors.tolist() == [[2.0, 0.25, 2.0, 0.25], [1.0] * 4]
