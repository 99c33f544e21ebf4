"""Batches reach the device unchanged and in few copies; PyTorch's meta device stands in for it."""

from collections import Counter, namedtuple

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData
from torch.overrides import TorchFunctionMode

from mmcnn.models.data_preprocessors.transfer import SMALL, sent

Pair = namedtuple('Pair', 'left right')
META = torch.device('meta')


class Copies(TorchFunctionMode):
    """Counts copies to a device by dtype, and those that would wait."""

    def __init__(self):
        super().__init__()
        self.counts, self.waits = Counter(), 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.to and args[0].device.type == 'cpu':
            self.counts[args[0].dtype] += 1
            self.waits += not (kwargs or {}).get('non_blocking')
        return func(*args, **(kwargs or {}))


def sample(count):
    found = DetDataSample(metainfo=dict(img_path=f'{count}.jpg'))
    boxes = HorizontalBoxes(torch.rand(count, 4))
    found.gt_instances = InstanceData(bboxes=boxes, labels=torch.arange(count), names=['a'] * count)
    found.ignored_instances = InstanceData(bboxes=torch.rand(1, 4), labels=torch.zeros(1, dtype=torch.long))
    return found


def test_boxes_and_labels_of_a_batch_travel_together():
    images = [torch.zeros(3, 200, 200, dtype=torch.uint8) for _ in range(5)]
    assert images[0].nbytes > SMALL
    with Copies() as copies:
        moved = sent(dict(inputs=images, data_samples=[sample(count) for count in range(5)]), META)
    assert copies.counts == {torch.uint8: 5, torch.float32: 1, torch.int64: 1}
    assert copies.waits == 0
    assert {image.device for image in moved['inputs']} == {META}
    assert moved['data_samples'][3].gt_instances.bboxes.tensor.device == META
    assert moved['data_samples'][3].gt_instances.bboxes.shape == (3, 4)


def test_waiting_is_possible():
    with Copies() as copies:
        sent([torch.zeros(3), torch.zeros(1 << 16)], META, non_blocking=False)
    assert copies.waits == 2


@pytest.fixture
def as_if_elsewhere(monkeypatch):
    """Treats every tensor as being on another device, so that values can be compared on the CPU."""
    from mmcnn.models.data_preprocessors import transfer

    monkeypatch.setattr(transfer, '_away', lambda tensor, device: True)


def test_nothing_is_changed_or_mixed_up(as_if_elsewhere):
    data = dict(
        inputs=Pair([torch.rand(2, 3), torch.rand(0, 4)], (torch.arange(6).view(2, 3).T, torch.tensor(3.5))),
        data_samples=[sample(2), sample(0), sample(3)],
        words=['a', b'b', None, 4],
    )
    data['data_samples'][0].gt_instances.masks = BitmapMasks(np.zeros((2, 1, 1), np.uint8), 1, 1)
    moved = sent(data, torch.device('cpu'))
    assert isinstance(moved['inputs'], Pair) and isinstance(moved['inputs'].right, tuple)
    for side in range(2):
        assert all(map(torch.equal, moved['inputs'][side], data['inputs'][side]))
    assert moved['words'] == data['words']
    for after, before in zip(moved['data_samples'], data['data_samples'], strict=True):
        plain = before.to('cpu')
        assert after is not before and after.metainfo == plain.metainfo
        for name in ('gt_instances', 'ignored_instances'):
            ours, theirs = after.get(name), plain.get(name)
            assert ours.keys() == theirs.keys() and ours.get('names') == theirs.get('names')
            assert torch.equal(ours.labels, theirs.labels)
            assert type(ours.bboxes) is type(theirs.bboxes)
            for boxes in zip(*[getattr(each.bboxes, 'tensor', each.bboxes) for each in (ours, theirs)], strict=True):
                assert torch.equal(*boxes)
    assert 'masks' in moved['data_samples'][0].gt_instances


def test_what_is_there_already_is_not_copied():
    tensor = torch.rand(3)
    assert sent([tensor], torch.device('cpu'))[0] is tensor


def test_on_the_cpu_samples_are_the_same_and_lists_are_new():
    data = dict(inputs=[torch.rand(3)], data_samples=[sample(2)], words=('a', None))
    found = sent(data, torch.device('cpu'))
    assert found is not data and found['data_samples'] is not data['data_samples']
    assert found['inputs'][0] is data['inputs'][0] and found['data_samples'][0] is data['data_samples'][0]
    assert found['words'] == data['words']
