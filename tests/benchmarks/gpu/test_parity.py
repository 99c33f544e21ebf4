from types import SimpleNamespace

import pytest
import torch
from mmdet.models.losses import CrossEntropyLoss, L1Loss, MSELoss
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import nn

from mmcnn.benchmarks.gpu import parity
from mmcnn.benchmarks.gpu.measurement import Circumstances, Timer

HERE = Circumstances(device='cpu', tiny=True, folder='', classes_folder='', workers=0)


class Net(BaseModel):
    """A network with MMDetection's loss, and with float32 targets like MMDetection's YOLOv3."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.top = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)
        self.loss_conf = CrossEntropyLoss(use_sigmoid=True, reduction='sum')
        self.loss_wh = MSELoss(reduction='sum')

    def forward(self, inputs, data_samples=None, mode='tensor'):
        found = self.top(self.norm(self.conv(inputs)).relu()).flatten(1)
        target = torch.full(found.shape, 0.3, device=found.device)
        weight = torch.ones(found.shape, device=found.device)
        return dict(
            loss_conf=self.loss_conf(found, target, weight=weight), loss_wh=self.loss_wh(found, target, weight=weight)
        )


@pytest.fixture
def batch(monkeypatch):
    torch.manual_seed(0)
    model, given = Net(), dict(inputs=torch.randn(2, 3, 8, 8), data_samples=None)
    monkeypatch.setattr(parity, 'model_and_batch', lambda *args: (model, given))
    return given


def measured():
    found = {}
    parity.measure(HERE, Timer(1), lambda **values: found.update(values), recipe='yolov3')
    return found


def test_the_same_device_passes(batch):
    found = measured()
    assert found['passed'] is True
    for name in ('fp32', 'bf16', 'fp16', 'batch_fp32'):
        assert found[name]['passed'] and 0 <= found[name]['loss_error'] <= found[name]['loss_error_bound']
    assert found['fp32']['gradient_error'] <= found['fp32']['gradient_error_bound'] < 1e-3
    assert found['fp32']['layers'] == found['bf16']['layers'] == 3
    assert 0 < found['cpu_fp32']['loss_error'] < found['cpu_bf16']['loss_error']


def test_a_device_that_computes_something_else_does_not(batch, monkeypatch):
    run, calls = parity._run, []

    def wrong(model, data, half):
        losses, gradients = run(model, data, half)
        calls.append(half)
        if len(calls) == 3:  # the third run, float32, stands for the device
            losses['loss_wh'] *= 1.01
        return losses, gradients

    monkeypatch.setattr(parity, '_run', wrong)
    found = measured()
    assert found['passed'] is found['fp32']['passed'] is False
    assert found['bf16']['passed'] is True


def test_losses_have_their_targets_in_the_type_of_their_predictions():
    model = nn.ModuleList([CrossEntropyLoss(use_sigmoid=True), MSELoss(), L1Loss(), nn.BatchNorm1d(2)])
    parity._targets_as_predictions(model)
    for loss in model[:3]:
        types = []

        def note(module, given, keywords, types=types):
            types += [each.dtype for each in (*given, keywords['weight'])]

        loss.register_forward_pre_hook(note, with_kwargs=True)
        for dtype in (torch.float64, torch.float32):
            prediction = torch.zeros(3, 2, dtype=dtype, requires_grad=True)
            loss(prediction, torch.ones(3, 2), weight=torch.ones(3, 2), avg_factor=2).backward()
            assert prediction.grad.dtype == dtype
        assert types == [torch.float64] * 3 + [torch.float32] * 3
    labels = torch.tensor([0, 1, 1])
    softmax = CrossEntropyLoss()
    parity._targets_as_predictions(nn.ModuleList([softmax]))
    assert softmax(torch.zeros(3, 2, dtype=torch.float64), labels).dtype == torch.float64  # class labels stay integers


def test_all_runs_have_the_regions_of_the_first():
    found = iter([[InstanceData(bboxes=torch.full((1, 4), float(number), dtype=torch.float64))] for number in range(2)])

    def two_stages():
        model = nn.Linear(1, 1)
        model.rpn_head = SimpleNamespace(predict_by_feat=lambda: next(found))
        return model

    proposals, first, second = parity._Proposals(), two_stages().double(), two_stages()
    proposals.keep_in(first)
    proposals.keep_in(second)
    assert first.rpn_head.predict_by_feat()[0].bboxes.tolist() == [[0] * 4]
    boxes = second.rpn_head.predict_by_feat()[0].bboxes
    assert boxes.tolist() == [[0] * 4] and boxes.dtype == torch.float32


def test_differences_are_shares_of_the_whole():
    reference = dict(loss=4.0, loss_a=3.0), dict(a=torch.tensor([3.0, 0.0]), b=torch.tensor([4.0]))
    other = dict(loss=4.0, loss_a=3.2), dict(a=torch.tensor([3.0, 0.3]), b=torch.tensor([4.4]))
    found = parity._difference(reference, other)
    assert found['loss_error'] == pytest.approx(0.05)
    assert found['gradient_error'] == pytest.approx(0.1)
    assert found['gradient_worst'][0] == 'b' and found['gradient_worst'][1] == pytest.approx(0.08)
    with pytest.raises(RuntimeError, match='different parameters have gradients: b'):
        parity._difference(reference, (other[0], dict(a=other[1]['a'])))
