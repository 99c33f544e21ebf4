"""Labels that are no classes of the head are refused, and no step waits for that."""

from __future__ import annotations

import torch
from torch import Tensor

from mmcnn.models.task_modules import host_device

_NOT_YET = -1  # in the place where a device will write 0 or 1


class LabelRange:
    """Says of each batch's labels whether they are classes.

    On the CPU at once. A GPU is asked, and answers while the step goes on: what it said is read when the next batch
    comes, and at the latest when somebody wants to know for sure, as before a checkpoint. Until then a label that is no
    class is one of none, which harms no more than one step.

    Args:
        num_classes: of the head.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self._asked: list[tuple[Tensor, Tensor]] = []  # the answer, on the host; the least and the largest label

    def check(self, labels: Tensor) -> None:
        """Asks of a batch's labels (M,), and reads the answers that have come.

        Raises:
            ValueError: a label of this batch, or on a GPU of one before, is no class.
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
        """Reads the answers that have come.

        Args:
            wait: for those, too, that have not.

        Raises:
            ValueError: names the labels and the number of classes.
        """
        while self._asked and (wait or self._asked[0][0].item() != _NOT_YET):
            answer, extremes = self._asked.pop(0)
            if answer.item() != 0:  # not yet, or wrong
                self._refuse_beyond(*extremes.tolist())

    def _refuse_beyond(self, least: int, largest: int) -> None:
        if not 0 <= least <= largest < self.num_classes:
            raise ValueError(
                f'labels from {least} to {largest}, but num_classes={self.num_classes}: set num_classes of the head to '
                'the number of classes of the data set'
            )

    def __deepcopy__(self, memo: dict) -> LabelRange:
        """A copy of a head has asked nothing yet."""
        return LabelRange(self.num_classes)

    def __reduce__(self) -> tuple:
        return LabelRange, (self.num_classes,)
