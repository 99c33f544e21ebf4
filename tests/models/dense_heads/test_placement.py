import pytest
import torch

from mmcnn.models.dense_heads.placement import placed

BOXES = torch.tensor([[14.0, 18, 34, 38], [-5, -5, 500, 500], [2, 2, 6, 6]])
METAS = [
    dict(img_shape=(64, 96), ori_shape=(40, 30), scale_factor=(2.0, 1.0), pad_param=(8, 4)),
    dict(img_shape=(32, 32), ori_shape=(20, 20), scale_factor=(0.5, 0.5)),
    dict(img_shape=(32, 32), ori_shape=(20, 20), scale_factor=(4.0, 2.0)),
]


def test_each_box_goes_to_its_own_image():
    found = placed(BOXES, [2, 0, 1], METAS, rescale=True)
    assert found.tolist() == [[5, 10, 15, 30], [0, 0, 30, 40], [0.5, 1, 1.5, 3]]


def test_in_the_network_s_input_boxes_are_clipped():
    assert placed(BOXES, [1, 1, 1], METAS, rescale=False).tolist() == [[14, 18, 34, 38], [0, 0, 32, 32], [2, 2, 6, 6]]
    assert placed(BOXES[:0], [0], METAS[:1], rescale=True).shape == (0, 4)


def test_an_image_without_its_meta_is_refused():
    with pytest.raises(RuntimeError, match='repeats'):
        placed(BOXES, [1, 1, 1], METAS[:2], rescale=True)
