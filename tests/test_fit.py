"""Fit, compared with MMDetection's pipeline and with hand-computed geometry."""

import numpy as np
import pytest
import torch
from mmdet.datasets.transforms import Resize
from mmdet.models import DetDataPreprocessor
from mmdet.structures import DetDataSample

from mmcnn.errors import UsageError
from mmcnn.fit import Fit

SIZES = [(480, 640), (641, 399), (37, 1000), (800, 1333), (100, 100)]


def drawn(height, width):
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('scale', [(1333, 800), (320, 320)])
def test_mmdetections_resize_and_padding(size, scale):
    image = drawn(*size)
    results = Resize(scale=scale, keep_ratio=True)(dict(img=image))
    mean = [103.53, 116.28, 123.675]
    preprocessor = DetDataPreprocessor(mean=mean, std=[1.0, 1.0, 1.0], pad_size_divisor=32)
    sample = DetDataSample(metainfo=dict(img_shape=results['img_shape']))
    inputs = torch.from_numpy(results['img']).permute(2, 0, 1)
    wanted = preprocessor(dict(inputs=[inputs], data_samples=[sample]))['inputs'][0].permute(1, 2, 0).numpy()

    fit = Fit(
        scale=scale, rule='long-short', rounding='half-up', shrink='linear', place='corner', extra=0.0, value=mean
    )
    fitted = fit.apply(image, np.float32)
    np.testing.assert_array_equal(fitted.image - np.float32(mean), wanted)
    assert fitted.scale_factor == results['scale_factor']
    assert (fitted.size, fitted.pad, fitted.original) == (results['img_shape'], (0, 0), size)


def test_boxes_go_back_to_where_they_came_from():
    fitted = Fit(scale=(320, 320)).apply(drawn(480, 640))
    assert fitted.image.shape == (256, 352, 3)  # 7.5 + 0.5 and 10 + 0.5 strides, rounded up
    assert (fitted.pad, fitted.size) == ((8, 16), (240, 320))
    on_canvas = np.float32([[16, 8, 336, 248], [0, 0, 352, 256]])
    whole = fitted.back(on_canvas, clip=True)
    np.testing.assert_array_equal(whole, np.float32([[0, 0, 640, 480]] * 2))
    beyond = fitted.back(on_canvas, clip=False)
    np.testing.assert_array_equal(beyond[1], np.float32([-32, -16, 672, 496]))


@pytest.mark.parametrize('size', SIZES)
def test_a_canvas_of_its_own_holds_every_image(size):
    fit = Fit(scale=(640, 640), canvas=(320, 512))
    fitted = fit.apply(drawn(*size))
    assert fitted.image.shape == (320, 512, 3)
    height, width = fitted.size
    assert height == 320 or width == 512 or max(height, width) == 640
    ratio = min(640 / max(size), 320 / size[0], 512 / size[1])
    assert abs(height - size[0] * ratio) <= 1 and abs(width - size[1] * ratio) <= 1


def test_what_is_no_setting():
    with pytest.raises(UsageError, match="rule='outside' is unknown; use one of inside, long-short"):
        Fit(scale=(1, 1), rule='outside')
