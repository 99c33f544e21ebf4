import torch

from mmcnn.models.losses.positives import Positives, last_of, occurrences
from mmcnn.models.task_modules import LevelOutput, LevelTargets, YOLOGridCoder

KEYS = torch.tensor([7, 3, 7, 9, 3, 7, 0])


def test_occurrences():
    assert occurrences(KEYS).tolist() == [3, 2, 3, 1, 2, 3, 1]
    assert occurrences(KEYS[:0]).tolist() == []


def test_last_of():
    assert last_of(KEYS).tolist() == [5, 4, 5, 3, 4, 5, 6]
    assert last_of(KEYS[:0]).tolist() == []


def level(image, anchor, row, column, valid=None):
    index = [torch.tensor(each, dtype=torch.long) for each in (image, anchor, row, column)]
    return LevelTargets(*index, torch.ones(len(image), 4) * 16, torch.arange(len(image)), valid)


def two_levels():
    anchors = torch.tensor([[10.0, 13.0], [16.0, 30.0]])
    maps = [torch.zeros(3, 2, 4, 6, 5 + 4), torch.zeros(3, 2, 2, 3, 5 + 4)]
    return [
        LevelOutput(m, anchors, stride, i, YOLOGridCoder())
        for i, (m, stride) in enumerate(zip(maps, (8, 16), strict=True))
    ]


def test_slots_of_all_levels_are_numbered_through():
    outputs = two_levels()
    targets = [level([0, 2], [0, 1], [0, 3], [5, 5]), level([2], [1], [1], [2])]
    found = Positives.of(outputs, targets, in_cells=True)
    assert found.slots.tolist() == [5, 3 * 2 * 4 * 6 - 1, 3 * 2 * (4 * 6 + 2 * 3) - 1]
    assert found.valid is None and found.per_level == [2, 1] and found.num_slots == 3 * 2 * 30
    assert found.wanted[:, 0].tolist() == [2, 2, 1] and found.boxes[0, 2:].tolist() == [10 / 8, 13 / 8]
    fine, coarse = found.per_slot(torch.tensor([0.5, 0.25, 1.0]), outputs)
    assert (fine[0, 0, 0, 5], fine[2, 1, 3, 5], coarse[2, 1, 1, 2]) == (0.5, 0.25, 1)
    assert fine.sum() == 0.75 and coarse.sum() == 1


def test_what_is_not_valid_is_in_no_slot():
    outputs = two_levels()
    targets = [level([0, 2], [0, 1], [0, 3], [5, 5], torch.tensor([True, False])), level([2], [1], [1], [2])]
    found = Positives.of(outputs, targets, in_cells=False)
    assert found.valid.tolist() == [True, False, True] and found.slots[1] == found.num_slots
    assert [each.sum().item() for each in found.per_slot(1.0, outputs)] == [1, 1]


def test_a_label_that_is_no_class_is_in_none():
    found = Positives.of(
        two_levels(), [level([0] * 6, [0] * 6, [0] * 6, [0] * 6), level([], [], [], [])], in_cells=True
    )
    assert found.one_hot().sum(1).tolist() == [1, 1, 1, 1, 0, 0]
