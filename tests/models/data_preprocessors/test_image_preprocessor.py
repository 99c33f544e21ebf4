"""Image preprocessors against MMDetection's, bit for bit."""

import mmdet.models
import mmengine.model
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData

from mmcnn.models.data_preprocessors import DetDataPreprocessor, ImgDataPreprocessor
from mmcnn.registry import MODELS

IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
SAME, DIFFERENT = [(3, 37, 50)] * 3, [(3, 37, 50), (3, 64, 33), (3, 20, 70)]


def images_of(sizes, dtype=torch.uint8):
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, size, generator=generator, dtype=torch.uint8).to(dtype) for size in sizes]


def batch_of(images):
    samples = []
    for i, image in enumerate(images):
        sample = DetDataSample(metainfo=dict(img_shape=tuple(image.shape[1:]), img_id=i))
        boxes = HorizontalBoxes(torch.arange(4.0 * i).view(-1, 4))
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.arange(i))
        samples.append(dict(inputs=image, data_samples=sample))
    return pseudo_collate(samples)


@pytest.mark.parametrize('sizes', [SAME, DIFFERENT, [(3, 64, 96)] * 2], ids=['same', 'different', 'unpadded'])
@pytest.mark.parametrize('dtype', [torch.uint8, torch.float32])
@pytest.mark.parametrize(
    'settings',
    [
        dict(IMAGENET, bgr_to_rgb=True, pad_size_divisor=32, pad_value=0.447),
        dict(IMAGENET, pad_size_divisor=32),
        dict(mean=[7.0], std=[9.0], rgb_to_bgr=True),
        dict(bgr_to_rgb=True, pad_value=114),
        dict(),
    ],
)
def test_the_same_bits_as_mmdetection(settings, dtype, sizes):
    images = images_of(sizes, dtype)
    kept = [image.clone() for image in images]
    expected = mmdet.models.DetDataPreprocessor(**settings)(batch_of(images), True)
    found = DetDataPreprocessor(**settings)(batch_of(images), True)
    assert found['inputs'].dtype == torch.float32
    assert torch.equal(found['inputs'], expected['inputs'])
    for ours, theirs in zip(found['data_samples'], expected['data_samples'], strict=True):
        assert ours.metainfo == theirs.metainfo and ours.pad_shape
        assert torch.equal(ours.gt_instances.bboxes, theirs.gt_instances.bboxes)
        assert torch.equal(ours.gt_instances.labels, theirs.gt_instances.labels)
    assert all(map(torch.equal, images, kept))  # the loader's images are unchanged


@pytest.mark.parametrize('settings', [dict(IMAGENET, bgr_to_rgb=True, pad_size_divisor=32), dict(pad_size_divisor=32)])
def test_a_batch_in_one_tensor_and_images_without_samples(settings):
    batch = torch.stack(images_of(SAME, torch.float32))
    kept = batch.clone()
    expected = mmengine.model.ImgDataPreprocessor(**settings)(dict(inputs=batch))
    found = ImgDataPreprocessor(**settings)(dict(inputs=batch))
    assert torch.equal(found['inputs'], expected['inputs'])
    assert found['data_samples'] is expected['data_samples'] is None
    found['inputs'].zero_()
    assert torch.equal(batch, kept)


@pytest.mark.parametrize(
    ('sizes', 'message'),
    [
        ([(1, 8, 8)], r'shape \(3, H, W\), as mean has 3 values, but have \(1, 8, 8\)'),
        ([(8, 8)], r'but have \(8, 8\)'),
        ([(3, 8, 8), (4, 8, 8)], r'but have \(3, 8, 8\), \(4, 8, 8\)'),
    ],
)
def test_images_of_other_channels_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        ImgDataPreprocessor(**IMAGENET)(dict(inputs=[torch.zeros(size) for size in sizes]))


def test_copies_do_not_wait_unless_told_to():
    assert DetDataPreprocessor().non_blocking
    assert not DetDataPreprocessor(non_blocking=False).non_blocking
    assert MODELS.build(dict(type='mmcnn.PlanPreprocessor', **IMAGENET)).non_blocking
    assert type(MODELS.build(dict(type='mmdet.DetDataPreprocessor'))) is mmdet.models.DetDataPreprocessor
    assert isinstance(MODELS.build(dict(type='mmcnn.DetDataPreprocessor')), DetDataPreprocessor)


def test_a_batch_costs_no_kernels_for_each_image():
    def operators(preprocessor, count, sizes):
        batch = batch_of(images_of(sizes[:1] * count if len(set(sizes)) == 1 else sizes * count))
        with torch.profiler.profile() as profile:
            preprocessor(batch, True)
        return sum(event.count for event in profile.key_averages() if event.key in KERNELS)

    settings = dict(IMAGENET, bgr_to_rgb=True, pad_size_divisor=32)
    ours = DetDataPreprocessor(**settings)
    assert operators(ours, 2, SAME) == operators(ours, 9, SAME) <= 6
    # Images of several sizes are copied into the batch one by one.
    assert operators(ours, 4, DIFFERENT) - operators(ours, 2, DIFFERENT) == 2 * len(DIFFERENT)
    assert operators(mmdet.models.DetDataPreprocessor(**settings), 9, SAME) > 30


KERNELS = (
    'aten::copy_',
    'aten::index',
    'aten::flip',
    'aten::sub',
    'aten::sub_',
    'aten::div',
    'aten::div_',
    'aten::cat',
)
