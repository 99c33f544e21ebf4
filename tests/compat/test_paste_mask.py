"""With mmcnn imported, MMDetection pastes masks of boxes inside, across and outside of the image consistently."""

import math

import pytest
import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead, fcn_mask_head
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

from mmcnn.compat import paste_mask

HEIGHT, WIDTH = 12, 16


def naive(mask, box):
    """Look up the center of each pixel in the mask (h, w) that fills the box, bilinearly between the mask's centers.

    Outside of the outermost centers the mask is interpolated with 0.
    """
    (h, w), (x0, y0, x1, y1) = mask.shape, box
    pasted = torch.zeros(HEIGHT, WIDTH)
    for i in range(HEIGHT):
        for j in range(WIDTH):
            y, x = (i + 0.5 - y0) / (y1 - y0) * h - 0.5, (j + 0.5 - x0) / (x1 - x0) * w - 0.5
            for a in (math.floor(y), math.floor(y) + 1):
                for b in (math.floor(x), math.floor(x) + 1):
                    if 0 <= a < h and 0 <= b < w:
                        pasted[i, j] += mask[a, b] * (1 - abs(y - a)) * (1 - abs(x - b))
    return pasted


BOXES = {
    'inside': (2.5, 3.0, 9.0, 8.25),
    'across a corner': (-3.0, -2.0, 4.5, 5.0),
    'larger than the image': (-5.0, -5.0, 30.0, 30.0),
    'right of it': (WIDTH + 3.0, 2.0, WIDTH + 8.0, 9.0),
    'left of it': (-9.0, 2.0, -4.0, 9.0),
    'above it': (2.0, -9.5, 9.0, -3.5),
    'below it': (2.0, HEIGHT + 1.0, 9.0, HEIGHT + 7.0),
    'beyond a corner': (-20.0, -20.0, -9.0, -9.0),
    'at its left edge': (-6.0, 2.0, 0.0, 9.0),
    'at its lower edge': (2.0, HEIGHT, 9.0, HEIGHT + 7.0),
    'less than a pixel beside it': (-6.0, 2.0, -0.4, 9.0),
}


@pytest.mark.parametrize('box', BOXES.values(), ids=BOXES.keys())
def test_a_mask_is_where_its_box_is(box):
    mask = torch.rand(5, 4, generator=torch.Generator().manual_seed(1)) + 0.1
    into = torch.zeros(1, HEIGHT, WIDTH)
    pasted, place = fcn_mask_head._do_paste_mask(mask[None, None], torch.tensor([box]), HEIGHT, WIDTH)
    into[(slice(None), *place)] = pasted
    torch.testing.assert_close(into[0], naive(mask, box), rtol=0, atol=1e-5)


def test_a_head_predicts_where_some_boxes_are_outside():
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = FCNMaskHead(num_convs=0, in_channels=4, conv_out_channels=4, num_classes=2)
    boxes = torch.tensor([BOXES['inside'], BOXES['left of it'], BOXES['below it'], BOXES['across a corner']])
    labels = torch.tensor([0, 1, 0, 1])
    logits = torch.full((4, 2, 5, 4), 9.0)
    masks = head._predict_by_feat_single(
        logits, boxes.clone(), labels, dict(ori_shape=(HEIGHT, WIDTH), scale_factor=(1.0, 1.0)),
        ConfigDict(mask_thr_binary=0.5),
    )  # fmt: skip
    assert masks.dtype == torch.bool and masks.shape == (4, HEIGHT, WIDTH)
    expected = [naive(torch.sigmoid(logits[i, labels[i]]), box.tolist()) >= 0.5 for i, box in enumerate(boxes)]
    assert torch.equal(masks, torch.stack(expected)) and masks.flatten(1).any(1).tolist() == [True, False, False, True]


def test_several_at_once_are_pasted_as_before():
    """Paste whole images at once, as on a GPU, with some of the boxes inside."""
    boxes = torch.tensor([BOXES['left of it'], BOXES['inside']])
    masks = torch.rand(2, 1, 5, 4)
    for skip_empty in (False, True):
        into = torch.zeros(2, HEIGHT, WIDTH)
        pasted, place = fcn_mask_head._do_paste_mask(masks, boxes, HEIGHT, WIDTH, skip_empty)
        into[(slice(None), *place)] = pasted
        expected = [naive(mask[0], box.tolist()) for mask, box in zip(masks, boxes, strict=True)]
        torch.testing.assert_close(into, torch.stack(expected), rtol=0, atol=1e-5)


def test_it_is_put_in_once():
    before = fcn_mask_head._do_paste_mask
    paste_mask.install()
    assert fcn_mask_head._do_paste_mask is before
