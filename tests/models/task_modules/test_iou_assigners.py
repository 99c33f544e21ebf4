"""The IoU assigners against MMDetection's, bit for bit."""

import mmdet.models.task_modules as theirs
import pytest
import torch
from mmengine.structures import InstanceData

import mmcnn.models.task_modules as ours
from mmcnn.compat.private_names import TorchDispatchMode

WAITING = {'aten::_local_scalar_dense', 'aten::nonzero', 'aten::_unique2', 'aten::equal'}


class Waits(TorchDispatchMode):
    """Notes operators for which the host would wait for a GPU, including indexing with a mask."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name
        masks = 'aten::index' in name and any(x is not None and x.dtype is torch.bool for x in args[1])
        if name in WAITING or masks:
            self.names.append(name)
        return func(*args, **(kwargs or {}))


def boxes(count, seed, whole=True):
    """Boxes on a coarse grid, so that many have the same IoU."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 24, (count, 2), generator=generator).float() * 4
    sizes = torch.randint(1, 9, (count, 2), generator=generator).float() * 4
    noise = 0 if whole else torch.rand(count, 4, generator=generator)
    return torch.cat([corners, corners + sizes], dim=1) + noise


def scene(objects, priors, seed, whole):
    labels = torch.arange(objects) % 3
    truth = InstanceData(bboxes=boxes(objects, seed, whole), labels=labels)
    flags = torch.rand(priors, generator=torch.Generator().manual_seed(seed)) < 0.4
    candidates = InstanceData(priors=boxes(priors, seed + 100, whole), responsible_flags=flags.to(torch.uint8))
    return candidates, truth


def assert_equal(found, expected):
    assert found.num_gts == expected.num_gts
    for name in ('gt_inds', 'max_overlaps', 'labels'):
        assert torch.equal(getattr(found, name), getattr(expected, name).to(getattr(found, name).dtype)), name
    assert found.gt_inds.dtype == expected.gt_inds.dtype


THEIR_IOU = dict(type='mmdet.BboxOverlaps2D')  # found in any default scope
RPN = dict(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3, match_low_quality=True)
RCNN = dict(pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5, match_low_quality=False)


@pytest.mark.parametrize('whole', [True, False])
@pytest.mark.parametrize('objects', [0, 1, 9])
@pytest.mark.parametrize(
    'settings',
    [RPN, RCNN, dict(RPN, gt_max_assign_all=False), dict(RPN, neg_iou_thr=(0.1, 0.3), min_pos_iou=0.0)],
)
def test_max_iou_is_mmdetections(settings, objects, whole):
    assigned = set()
    for seed in range(4):
        expected = theirs.MaxIoUAssigner(**settings, iou_calculator=THEIR_IOU).assign(*scene(objects, 300, seed, whole))
        found = ours.MaxIoUAssigner(**settings)
        arguments = scene(objects, 300, seed, whole)
        with Waits() as waits:
            result = found.assign(*arguments)
        assert_equal(result, expected)
        assert waits.names == []
        assigned |= {*expected.gt_inds.tolist()}
    assert 0 in assigned and (objects < 9 or len(assigned) > 4)


@pytest.mark.parametrize('whole', [True, False])
@pytest.mark.parametrize('objects', [0, 1, 9])
@pytest.mark.parametrize('ties', [True, False])
@pytest.mark.parametrize('negative', [0.5, (0.1, 0.3)])
def test_grid_is_mmdetections(negative, ties, objects, whole):
    settings = dict(pos_iou_thr=0.5, neg_iou_thr=negative, min_pos_iou=0, gt_max_assign_all=ties)
    for seed in range(4):
        expected = theirs.GridAssigner(**settings, iou_calculator=THEIR_IOU).assign(*scene(objects, 300, seed, whole))
        arguments = scene(objects, 300, seed, whole)
        with Waits() as waits:
            found = ours.GridAssigner(**settings).assign(*arguments)
        assert_equal(found, expected)
        assert waits.names == []


def test_the_iou_that_is_given_is_used():
    settings = dict(RPN, iou_calculator=dict(type='mmdet.BboxOverlaps2D', scale=2.0))
    assert type(ours.MaxIoUAssigner(**settings).iou_calculator) is theirs.BboxOverlaps2D
    assert type(ours.GridAssigner(0.5, 0.5).iou_calculator) is ours.BboxOverlaps2D


@pytest.mark.parametrize('mode', ['iou', 'iof', 'giou'])
def test_iou_is_mmdetections(mode):
    one, two = boxes(40, 0, whole=False), boxes(50, 1, whole=False)
    one[3] = one[3, :2].repeat(2)  # an empty box
    ious = [module.BboxOverlaps2D()(one, two, mode) for module in (ours, theirs)]
    assert torch.equal(*ious)
    pairs = [module.BboxOverlaps2D()(one, two[:40], mode, is_aligned=True) for module in (ours, theirs)]
    assert torch.equal(*pairs)
    assert ours.BboxOverlaps2D()(one[:0], two).shape == (0, 50)
