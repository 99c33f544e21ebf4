from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmcnn.benchmarks.gpu import drawing
from mmcnn.benchmarks.gpu.measurement import Circumstances, Timer

HERE = Circumstances(device='cpu', tiny=True, folder='', classes_folder='', workers=0)


class Preprocessor(nn.Module):
    """A preprocessor whose copy, the device's one, is off by some levels in the first values."""

    def __init__(self, off):
        super().__init__()
        self.off, self.is_copy = off, False
        self.register_buffer('std', torch.full((3, 1, 1), 255.0))

    def __deepcopy__(self, memo):
        made = Preprocessor(self.off)
        made.is_copy = True
        return made

    def forward(self, data, training):
        images = data['inputs'].clone()
        if self.is_copy:
            for value, levels in enumerate(self.off):
                images.view(-1)[value] += levels
        return dict(inputs=images / self.std)


@pytest.mark.parametrize(
    ('off', 'error', 'passed'),
    [([], 0.0, True), ([1.0] * 100, 0.0, True), ([2.0] * 3, 3 / 6144, True), ([-2.0] * 7, 7 / 6144, False)],
)
def test_values_that_are_off_by_more_than_a_level_are_counted(monkeypatch, off, error, passed):
    batch = dict(inputs=torch.full((2, 3, 32, 32), 100.0))
    asked = []

    def model_and_batch(circumstances, recipe, options):
        asked.append((recipe, options))
        return SimpleNamespace(data_preprocessor=Preprocessor(off)), batch

    monkeypatch.setattr(drawing, 'model_and_batch', model_and_batch)
    found = {}
    drawing.measure(HERE, Timer(1), lambda **values: found.update(values), recipe='yolov5_s')
    assert found['passed'] is found['drawn']['passed'] is passed
    assert found['drawn']['error'] == pytest.approx(error) and found['drawn']['images'] == 2
    assert asked == [('yolov5_s', {'train_dataloader.dataset.device_augmentation': True})]
