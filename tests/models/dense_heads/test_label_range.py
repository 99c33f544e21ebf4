"""Wrong labels are refused at once on the CPU, and with the next batch on a GPU."""

import copy
import pickle

import pytest
import torch

from mmcnn.models.dense_heads.label_range import LabelRange
from mmcnn.models.task_modules import host_device

WORDS = 'labels from -1 to 3, but num_classes=3: set num_classes of the head to the number of classes of the data set'
WRONG, RIGHT = torch.tensor([0, 3, -1]), torch.tensor([0, 2])


@pytest.fixture
def deferred(monkeypatch):
    """Checks as on a GPU, except that the answer is there at once."""
    monkeypatch.setattr(host_device, 'selects_freely', lambda tensor: False)
    monkeypatch.setattr(torch.Tensor, 'pin_memory', lambda self: self)


def test_on_the_cpu_at_once():
    LabelRange(3).check(RIGHT)
    LabelRange(3).check(RIGHT[:0])
    with pytest.raises(ValueError, match=WORDS):
        LabelRange(3).check(WRONG)


@pytest.mark.usefixtures('deferred')
def test_on_a_gpu_with_the_next_batch_and_once():
    labels = LabelRange(3)
    labels.check(RIGHT)
    labels.check(WRONG)
    with pytest.raises(ValueError, match=WORDS):
        labels.check(RIGHT[:0])
    labels.check(RIGHT)
    labels.read(wait=True)


@pytest.mark.usefixtures('deferred')
def test_an_answer_that_has_not_come_is_waited_for_only_on_demand(monkeypatch):
    labels = LabelRange(3)
    monkeypatch.setattr(torch.Tensor, 'copy_', lambda self, *args, **kwargs: self)
    labels.check(WRONG)
    labels.check(RIGHT)
    labels.read()
    with pytest.raises(ValueError, match=WORDS):
        labels.read(wait=True)
    labels.read(wait=True)  # the second batch's


@pytest.mark.usefixtures('deferred')
def test_a_copy_has_asked_nothing():
    labels = LabelRange(3)
    labels.check(WRONG)
    for other in (copy.deepcopy(labels), pickle.loads(pickle.dumps(labels))):
        other.read(wait=True)
        assert other.num_classes == 3
