import numpy as np
import pytest

from mmcnn.datasets.mosaic.flat_annotations import FlatAnnotations
from mmcnn.errors import DataError


class Infos(list):
    def get_data_info(self, index):
        return self[index]


def instance(box, label, ignore=0):
    return dict(bbox=box, bbox_label=label, ignore_flag=ignore)


def test_every_image_as_the_data_set_has_it():
    annotations = FlatAnnotations(
        Infos([
            dict(img_path='a/ä.jpg', img_id=70, width=640, height=480,
                 instances=[instance([1, 2, 3, 4], 5), instance([10.5, 0, 20, 30], 1, 1)]),
            dict(img_path='b.png', img_id=3, width=32, height=64, instances=[]),
            dict(img_path='c.png', img_id=9, width=8, height=8, instances=[instance([0, 0, 8, 8], 2)]),
        ])
    )  # fmt: skip
    assert len(annotations) == 3
    first, second, third = annotations
    assert first.index == 0 and first.size == (640, 480)
    assert first.boxes.tolist() == [[1, 2, 3, 4], [10.5, 0, 20, 30]] and first.boxes.dtype == np.float32
    assert first.labels.tolist() == [5, 1] and first.ignore_flags.tolist() == [False, True]
    assert second.size == (32, 64) and second.boxes.shape == (0, 4) and second.labels.shape == (0,)
    assert third.labels.tolist() == [2]
    assert [annotations.path(i) for i in range(3)] == ['a/ä.jpg', 'b.png', 'c.png']
    assert [annotations.image_id(i) for i in range(3)] == [70, 3, 9]
    assert annotations[-1].index == 2
    with pytest.raises(IndexError, match='image 3 of 3'):
        annotations[3]


def test_an_image_without_a_size_is_named():
    with pytest.raises(DataError, match=r'x\.jpg has no width and height'):
        FlatAnnotations(Infos([dict(img_path='x.jpg', instances=[])]))
