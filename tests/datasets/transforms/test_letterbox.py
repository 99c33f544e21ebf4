import numpy as np
import pytest
from mmdet.structures.bbox import HorizontalBoxes

from mmcnn.datasets import LetterBox


def letterbox(height, width, boxes=None, **kwargs):
    results = {'img': np.full((height, width, 3), 200, np.uint8)}
    if boxes is not None:
        results['gt_bboxes'] = HorizontalBoxes(np.array(boxes, np.float32))
    return LetterBox(**kwargs)(results)


@pytest.mark.parametrize(
    ('size', 'padded', 'pad'),
    [
        ((480, 640), (512, 672), (16, 16)),
        ((640, 640), (672, 672), (16, 16)),
        ((240, 320), (512, 672), (16, 16)),  # enlarged by 2
        ((1280, 960), (672, 512), (16, 16)),  # reduced by 2
        ((427, 640), (448, 672), (10, 16)),  # 427 / 32 + 0.5 = 13.8 -> 14; 21 px to pad: 10 above, 11 below
        ((100, 640), (128, 672), (14, 16)),  # 3.125 + 0.5 -> 4
        ((112, 640), (128, 672), (8, 16)),  # 3.5 + 0.5 = 4 exactly
    ],
)
def test_rectangular_shapes(size, padded, pad):
    out = letterbox(*size)
    assert out['img'].shape == (*padded, 3)
    assert out['img_shape'] == padded
    assert out['pad_param'] == pad


def test_padding_is_114_and_surrounds_the_image():
    image = letterbox(427, 640)['img']
    assert (image[10:437, 16:656] == 200).all()
    image[10:437, 16:656] = 114
    assert (image == 114).all()


def test_fixed_shape():
    out = letterbox(480, 640, rect=False)
    assert out['img'].shape == (640, 640, 3)
    assert out['pad_param'] == (80, 0)
    assert out['scale_factor'] == (1.0, 1.0)
    out = letterbox(500, 333, rect=False, img_scale=(320, 320))  # 333 * 0.64 = 213.12 -> 213; 107 to pad, 53 left
    assert out['pad_param'] == (0, 53)
    assert out['scale_factor'] == pytest.approx((213 / 333, 0.64))


def test_target_that_is_not_square():
    out = letterbox(100, 100, rect=False, img_scale=(320, 160))  # min(3.2, 1.6)
    assert out['img'].shape == (160, 320, 3)
    assert out['pad_param'] == (0, 80)
    assert out['scale_factor'] == (1.6, 1.6)


def test_shrinking_averages():
    image = np.zeros((64, 64, 3), np.uint8)
    image[::4] = 255  # a linear resize by 4 would use rows 1 and 2 of four, which are black
    out = LetterBox((16, 16), rect=False)({'img': image})['img']
    assert set(np.unique(out)) <= {63, 64}


@pytest.mark.parametrize('rect', [True, False])
@pytest.mark.parametrize('size', [(480, 640), (333, 500), (1000, 777), (31, 17)])
def test_boxes_make_the_round_trip(size, rect):
    h, w = size
    rng = np.random.default_rng(0)
    original = np.sort(rng.uniform(0, 1, (20, 2, 2)), axis=1).reshape(20, 4) * (w, h, w, h)
    out = letterbox(h, w, original, rect=rect)
    top, left = out['pad_param']
    scale_w, scale_h = out['scale_factor']
    boxes = out['gt_bboxes'].tensor.numpy()
    back = (boxes - (left, top, left, top)) / (scale_w, scale_h, scale_w, scale_h)
    assert np.abs(back - original).max() < 1e-3
    assert (boxes >= 0).all()
    assert (boxes[:, [2, 3]] <= out['img_shape'][::-1]).all()


def test_the_box_of_the_whole_image_is_the_drawn_image():
    out = letterbox(333, 500, [[0, 0, 500, 333]])
    drawn = (out['img'] == 200).all(axis=2)
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    bounds = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    assert out['gt_bboxes'].tensor.numpy()[0] == pytest.approx(bounds, abs=1e-4)
