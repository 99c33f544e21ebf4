import cv2
import numpy as np
import pytest

from mmcnn.datasets.transforms import RandomResizedCrop, ResizedCenterCrop
from mmcnn.registry import TRANSFORMS


def coordinates(height, width):
    """Return an image whose first two channels are x and y of each pixel."""
    y, x = np.mgrid[:height, :width]
    return np.dstack([x, y, np.zeros_like(x)]).astype(np.uint8)


def part_of(result):
    """Return x1, y1, x2, y2 of the crop of a :func:`coordinates` image."""
    image = result['img'].astype(float)
    return image[..., 0].min(), image[..., 1].min(), image[..., 0].max(), image[..., 1].max()


def test_size_and_shape():
    for kind in ('mmcnn.RandomResizedCrop', 'mmcnn.ResizedCenterCrop'):
        crop = TRANSFORMS.build(dict(type=kind, img_scale=(48, 32)))
        for height, width in ((40, 90), (200, 30), (1, 1), (32, 48)):
            result = crop(dict(img=np.zeros((height, width, 3), np.uint8), gt_label=3))
            assert result['img'].shape == (32, 48, 3)
            assert result['img'].dtype == np.uint8
            assert (result['img_shape'], result['gt_label']) == ((32, 48), 3)


def test_parts_have_the_areas_and_ratios_asked_for():
    crop = RandomResizedCrop((32, 32), area=(0.2, 0.5), ratio=(0.5, 2.0))
    np.random.seed(0)
    parts = np.array([crop._part(400, 300) for _ in range(2000)])
    x, y, w, h = parts.T
    assert ((x >= 0) & (y >= 0) & (x + w <= 400) & (y + h <= 300)).all()
    areas, ratios = w * h / (400 * 300), w / h
    assert 0.195 < areas.min() < 0.21 and 0.49 < areas.max() < 0.505
    assert 0.49 < ratios.min() < 0.55 and 1.9 < ratios.max() < 2.02
    assert np.mean(areas) == pytest.approx(0.35, abs=0.02)  # uniform
    # Log-uniform, except that parts taller than the image are drawn again.
    assert np.median(ratios) == pytest.approx(1.1, abs=0.1)
    assert x.min() == 0 and (x + w).max() == 400 and y.min() == 0 and (y + h).max() == 300  # the edges are reached


def test_image_that_has_no_such_part():
    crop = RandomResizedCrop((32, 32), area=(1.0, 1.0), ratio=(3 / 4, 4 / 3))
    assert crop._part(300, 90) == (90, 0, 120, 90)  # the widest of 4 : 3, in the middle
    assert crop._part(90, 300) == (0, 90, 90, 120)


def test_random_part_is_shown():
    image = coordinates(200, 250)
    crop = RandomResizedCrop((64, 64), area=(0.1, 0.3))
    np.random.seed(1)
    wanted = crop._part(250, 200)
    np.random.seed(1)
    x, y, w, h = wanted
    found = part_of(crop(dict(img=image)))
    assert found == pytest.approx((x, y, x + w, y + h), abs=3)


def test_middle_of_seven_eighths():
    # 224 of the 256 pixels of the shorter side, and as many of the other: no resizing is necessary.
    result = ResizedCenterCrop((224, 224))(dict(img=coordinates(256, 256)))
    np.testing.assert_array_equal(result['img'], coordinates(256, 256)[16:240, 16:240])
    wide = np.random.default_rng(0).integers(0, 256, (256, 320, 3), np.uint8)
    np.testing.assert_array_equal(ResizedCenterCrop((224, 224))(dict(img=wide))['img'], wide[16:240, 48:272])
    tall = wide.transpose(1, 0, 2)
    np.testing.assert_array_equal(ResizedCenterCrop((224, 224))(dict(img=tall))['img'], tall[48:272, 16:240])


def test_middle_is_near_resize_and_crop():
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8), (0, 0), 8)
    resized = cv2.resize(image, (341, 256), interpolation=cv2.INTER_AREA)
    expected = resized[16:240, 58:282]
    found = ResizedCenterCrop((224, 224))(dict(img=image))['img']
    assert np.abs(found.astype(float) - expected).mean() < 0.6


def test_whole_image():
    image = coordinates(100, 100)
    np.testing.assert_array_equal(ResizedCenterCrop((100, 100), fraction=1.0)(dict(img=image))['img'], image)


def test_shrinking_averages():
    checks = np.indices((128, 128)).sum(axis=0) % 2 * 255
    image = np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)
    result = ResizedCenterCrop((32, 32), fraction=1.0)(dict(img=image))['img']
    assert result.min() >= 127 and result.max() <= 128


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: RandomResizedCrop(None), 'RandomResizedCrop: img_scale is None; mmcnn train and mmcnn test set'),
        (lambda: ResizedCenterCrop(None), 'ResizedCenterCrop: img_scale is None'),
        (lambda: RandomResizedCrop((8, 8), area=(0, 1)), r'area is \(0, 1\)'),
        (lambda: RandomResizedCrop((8, 8), area=(0.5, 1.5)), r'area is \(0.5, 1.5\)'),
        (lambda: RandomResizedCrop((8, 8), ratio=(2, 1)), r'ratio \(2, 1\)'),
        (lambda: ResizedCenterCrop((8, 8), fraction=0), 'fraction is 0'),
    ],
)
def test_arguments_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()
