"""Rejection of labels outside the head's classes, without making a step wait for the device."""

from __future__ import annotations

import torch
from torch import Tensor

from mmcnn.models.task_modules import host_device

_NOT_YET = -1  # placeholder until the device has written 0 or 1


class LabelRange:
    """Checks that the labels of each batch are classes of the head.

    On the CPU the check is immediate. On a GPU it is asynchronous: the result is read when the next batch arrives, and
    at the latest when a definite answer is needed, as before a checkpoint. Until then an invalid label counts as no
    class, which affects one step at most.

    Args:
        num_classes: number of classes of the head.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self._asked: list[tuple[Tensor, Tensor]] = []  # the result, on the host; the smallest and the largest label

    def check(self, labels: Tensor) -> None:
        """Start the check of a batch's labels (M,) and read the results that have arrived.

        Raises:
            ValueError: a label of this batch, or on a GPU of an earlier one, is not a class.
        """
        self.read()
        if not len(labels):
            return
        extremes = torch.stack(labels.aminmax())
        if host_device.selects_freely(labels):
            self._refuse_beyond(*extremes.tolist())
            return
        wrong = (extremes[0] < 0) | (extremes[1] >= self.num_classes)
        answer = torch.tensor(_NOT_YET).pin_memory()
        answer.copy_(wrong.long(), non_blocking=True)
        self._asked.append((answer, extremes))

    def read(self, wait: bool = False) -> None:
        """Read the results that have arrived.

        Args:
            wait: also wait for those that have not.

        Raises:
            ValueError: a label is not a class; the message gives the labels and the number of classes.
        """
        while self._asked and (wait or self._asked[0][0].item() != _NOT_YET):
            answer, extremes = self._asked.pop(0)
            if answer.item() != 0:  # pending, or wrong
                self._refuse_beyond(*extremes.tolist())

    def _refuse_beyond(self, least: int, largest: int) -> None:
        if not 0 <= least <= largest < self.num_classes:
            raise ValueError(
                f'labels from {least} to {largest}, but num_classes={self.num_classes}: set num_classes of the head to '
                'the number of classes of the data set'
            )

    def __deepcopy__(self, memo: dict) -> LabelRange:
        """Return an object without pending checks, for copies of a head."""
        return LabelRange(self.num_classes)

    def __reduce__(self) -> tuple:
        return LabelRange, (self.num_classes,)
