import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.structures import BaseDataElement

import mmcnn
from mmcnn.datasets.transforms import PackClassifierInputs


def packed(label, shape=(4, 6, 3)):
    image = np.random.default_rng(label).integers(0, 256, shape, np.uint8)
    results = dict(img=image, gt_label=np.int64(label), img_path='x.jpg', ori_shape=(9, 9), img_shape=shape[:2], flip=1)
    return image, PackClassifierInputs()(results)


def test_image_and_label():
    image, sample = packed(7)
    assert sample.keys() == {'inputs', 'data_samples'}
    assert sample['inputs'].dtype == torch.uint8
    np.testing.assert_array_equal(sample['inputs'].numpy(), image.transpose(2, 0, 1))
    element = sample['data_samples']
    assert type(element) is BaseDataElement
    assert type(element.gt_label) is int
    assert element.gt_label == 7
    assert element.metainfo == dict(img_path='x.jpg', ori_shape=(9, 9), img_shape=(4, 6))


def test_an_image_without_label():
    sample = PackClassifierInputs(meta_keys=('img_path',))(dict(img=np.zeros((2, 3, 3), np.uint8)))
    assert 'gt_label' not in sample['data_samples']
    assert sample['data_samples'].metainfo == {}


def test_a_classifier_takes_it():
    batch = pseudo_collate([packed(label, (64, 64, 3))[1] for label in (0, 2)])
    model = mmcnn.build_classifier('darknet53', num_classes=3, widen_factor=0.0625, deepen_factor=0.33)
    # BGR bytes become RGB from 0 to 1, as in Darknet.
    inputs = model.data_preprocessor(batch, training=True)['inputs']
    torch.testing.assert_close(inputs, torch.stack(batch['inputs'])[:, [2, 1, 0]] / 255)
    loss = model(**model.data_preprocessor(batch, training=True), mode='loss')['loss']
    assert loss.isfinite()
    with torch.no_grad():
        results = model.eval().test_step(batch)
    assert [result.gt_label for result in results] == [0, 2]
    assert all(abs(float(result.pred_scores.sum()) - 1) < 1e-5 for result in results)
