import torch

from mmcnn.models.task_modules.host_device import copied, selects_freely


def test_numbers_beside_a_tensor():
    like = torch.zeros(1, dtype=torch.float64)
    found = copied([(1, 0.1), (2, 0.2)], like=like)
    assert found.dtype == torch.float64 and found.tolist() == [[1.0, 0.1], [2.0, 0.2]]
    assert copied([], like=like, dtype=torch.long).dtype == torch.long
    assert copied([1], like=like.to('meta')).is_meta


def test_only_the_cpu_selects_freely():
    assert selects_freely(torch.zeros(1)) and not selects_freely(torch.zeros(1, device='meta'))
