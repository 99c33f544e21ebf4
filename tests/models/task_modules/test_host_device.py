import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator

from mmcnn.models.task_modules import host_device
from mmcnn.models.task_modules.host_device import copied, selects_freely


def test_numbers_beside_a_tensor():
    like = torch.zeros(1, dtype=torch.float64)
    found = copied([(1, 0.1), (2, 0.2)], like=like)
    assert found.dtype == torch.float64 and found.tolist() == [[1.0, 0.1], [2.0, 0.2]]
    assert copied([], like=like, dtype=torch.long).dtype == torch.long
    assert copied([1], like=like.to('meta')).is_meta


def test_only_the_cpu_selects_freely():
    assert selects_freely(torch.zeros(1)) and not selects_freely(torch.zeros(1, device='meta'))


def test_places_of_a_mask(monkeypatch):
    mask = torch.tensor([False, True, True, False, True])
    for freely in (True, False):
        monkeypatch.setattr(host_device, 'selects_freely', lambda tensor, freely=freely: freely)
        assert host_device.places(mask, 3).tolist() == [1, 2, 4]
        assert host_device.places(~mask & mask, 0).tolist() == []


def test_anchors_are_moved_once():
    generator = AnchorGenerator(strides=[8], scales=[4], ratios=[1.0])
    host_device.keep_anchors_on(torch.device('meta'), generator)
    (moved,) = generator.base_anchors
    host_device.keep_anchors_on(torch.device('meta'), generator)
    assert moved.device.type == 'meta' and generator.base_anchors[0] is moved
