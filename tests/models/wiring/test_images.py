"""The data preprocessor gets the image format of the backbone's row."""

import pytest

import mmcnn
from mmcnn.models.wiring import swap_backbone, wire
from tests.wired_models import yolov4

CAFFE = dict(mean=[103.939, 116.779, 123.68], std=[1.0] * 3, bgr_to_rgb=False)


def preprocessor(backbone, **written):
    """The data preprocessor of a detector after ``wire``."""
    written = dict(type='DetDataPreprocessor') | written
    return wire(yolov4(backbone=dict(backbone, out_indices=(3, 4, 5)), data_preprocessor=written)).data_preprocessor


def test_images_are_normalised_as_the_row_says():
    assert preprocessor(dict(type='mmcnn.vgg16'), pad_value=1) == dict(type='DetDataPreprocessor', pad_value=1, **CAFFE)
    # The other ways to name a row, and our preprocessor.
    for backbone in (dict(type='mmcnn.VGG', variant='vgg16'), dict(type=mmcnn.models.backbones.VGG, variant='vgg16')):
        assert preprocessor(backbone, type='mmcnn.PlanPreprocessor') == dict(type='mmcnn.PlanPreprocessor', **CAFFE)
    unit = preprocessor(dict(type='mmcnn.cspdarknet53'))
    assert (unit.mean, unit.std, unit.bgr_to_rgb) == ([0.0] * 3, [255.0] * 3, True)


@pytest.mark.parametrize(
    'written',
    [dict(mean=None, std=None), dict(mean=[1, 2, 3], std=[4, 5, 6]), dict(bgr_to_rgb=True), dict(rgb_to_bgr=False)],
)
def test_what_is_written_of_the_images_stays(written):
    """One given entry determines what the missing ones mean: a mean is in BGR order, and nothing is swapped."""
    written = dict(type='DetDataPreprocessor') | written
    assert preprocessor(dict(type='mmcnn.cspdarknet53'), **written) == written


@pytest.mark.parametrize('channels', [1, 4])
def test_images_of_other_channels_stay_as_they_are(channels):
    bare = dict(type='DetDataPreprocessor')
    assert preprocessor(dict(type='mmcnn.cspdarknet53', in_channels=channels)) == bare


def test_images_of_foreign_parts_and_of_plain_configs_stay_as_they_are():
    bare = dict(type='DetDataPreprocessor')
    foreign = yolov4(backbone=dict(type='ResNet', depth=18, out_indices=(1, 2, 3)), data_preprocessor=bare)
    assert wire(foreign).data_preprocessor == bare
    plain = yolov4(type='SingleStageDetector', data_preprocessor=bare)  # as a run records it
    del plain['detector']
    assert wire(plain).data_preprocessor == bare
    base = dict(type='BaseDataPreprocessor')  # normalises nothing
    assert preprocessor(dict(type='mmcnn.vgg16'), **base) == base
    assert 'data_preprocessor' not in wire(yolov4())


def test_swap_to_the_same_image_format_says_nothing_of_it():
    model = yolov4(data_preprocessor=dict(type='DetDataPreprocessor', pad_value=114 / 255))
    swapped, notes = swap_backbone(model, 'darknet53')
    assert notes == [] and swapped.data_preprocessor.pad_value == 114 / 255
    swapped, notes = swap_backbone(model, 'vgg16')
    assert notes == [
        'images are normalised as vgg16 expects: mean (103.939, 116.779, 123.68), std (1.0, 1.0, 1.0), bgr'
    ]
    assert {key: swapped.data_preprocessor[key] for key in CAFFE} == CAFFE
