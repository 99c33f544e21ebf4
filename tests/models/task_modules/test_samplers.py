"""The sampler against MMDetection's: the same priors and the same state of the random generator."""

import mmdet.models.task_modules as theirs
import pytest
import torch
from mmdet.models.task_modules.assigners import AssignResult
from mmengine.structures import InstanceData

import mmcnn.models.task_modules as ours
from mmcnn.compat.private_names import TorchDispatchMode


class Numbers(TorchDispatchMode):
    """Counts how often the host would wait for a GPU."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        waiting = ('aten::nonzero', 'aten::_unique2', 'aten::_local_scalar_dense')
        self.count += func._schema.name in waiting
        return func(*args, **(kwargs or {}))


def scene(positive, negative, neither, objects=3):
    generator = torch.Generator().manual_seed(0)
    numbers = [torch.randint(1, objects + 1, (positive,), generator=generator)] if positive else []
    numbers = torch.cat([*numbers, torch.zeros(negative).long(), -torch.ones(neither).long()])
    numbers = numbers[torch.randperm(len(numbers), generator=generator)]
    truth = InstanceData(bboxes=torch.rand(objects, 4, generator=generator), labels=torch.arange(objects))
    labels = torch.where(numbers > 0, numbers - 1, -1)
    result = AssignResult(objects, numbers, torch.rand(len(numbers), generator=generator), labels)
    return result, InstanceData(priors=torch.rand(len(numbers), 4, generator=generator)), truth


NAMES = ('pos_inds', 'neg_inds', 'pos_priors', 'neg_priors', 'pos_is_gt', 'pos_assigned_gt_inds', 'pos_gt_labels')


def assert_equal(found, expected):
    for name in (*NAMES, 'pos_gt_bboxes'):
        one, two = getattr(found, name), getattr(expected, name)
        assert one.dtype == two.dtype and torch.equal(one, two), name
    assert (found.num_gts, found.avg_factor) == (expected.num_gts, expected.avg_factor)


SCENES = [(50, 400, 30), (5, 400, 0), (5, 10, 3), (0, 40, 0), (40, 0, 0), (0, 0, 9)]


@pytest.mark.parametrize('counts', SCENES)
@pytest.mark.parametrize(
    'settings',
    [
        dict(num=64, pos_fraction=0.5, add_gt_as_proposals=False),
        dict(num=64, pos_fraction=0.25, add_gt_as_proposals=True),
        dict(num=64, pos_fraction=0.25, neg_pos_ub=3),
    ],
)
def test_random_samples_are_mmdetections(settings, counts):
    results, left = [], []
    for module in (theirs, ours):
        torch.manual_seed(1)
        results.append(module.RandomSampler(**settings).sample(*scene(*counts)))
        left.append(torch.rand(1))
    assert_equal(results[1], results[0])
    assert torch.equal(*left)


def test_without_objects():
    results = []
    for module in (theirs, ours):
        torch.manual_seed(0)
        results.append(module.RandomSampler(8, 0.5).sample(*scene(0, 20, 0, objects=0)))
    assert_equal(results[1], results[0])


def test_the_host_waits_once():
    sampler, arguments = ours.RandomSampler(64, 0.5), scene(50, 400, 30)
    with Numbers() as numbers:
        sampler.sample(*arguments)
    assert numbers.count <= 2  # two numbers of one tensor
