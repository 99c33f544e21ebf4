import pytest
import torch

from mmcnn.benchmarks.gpu import operators
from mmcnn.benchmarks.gpu.measurement import Circumstances, Timer

HERE = Circumstances(device='cpu', tiny=True, folder='', classes_folder='', workers=0)


@pytest.fixture(autouse=True)
def once(monkeypatch):
    monkeypatch.setattr(operators, 'seconds_of', lambda call, *args, **kwargs: 0.25 if call() is not None else 0)


def measured(function):
    found = {}
    function(HERE, Timer(1), lambda **values: found.update(values))
    return found


def test_right_operators_pass():
    for function in (operators.nms, operators.roi_align, operators.focal_loss):
        found = measured(function)
        assert found.pop('passed') is True
        assert all(each['ms'] == 250 for each in found.values())
    found = measured(operators.nms)
    assert 10 < found['batched_nms, 400 boxes']['kept'] < 100  # about twenty boxes per object, so most are suppressed
    assert set(found) > {f'nms {kind}, 200 boxes' for kind in ('iou', 'greedy_diou', 'diou')}


def test_wrong_ones_do_not(monkeypatch):
    right, calls = operators.ops.nms, []

    def wrong(boxes, *args, **kwargs):  # every second call stands for the device
        calls.append(boxes)
        kept = right(boxes, *args, **kwargs)
        return kept[:-1] if len(calls) % 2 == 0 else kept

    monkeypatch.setattr(operators.ops, 'nms', wrong, raising=False)
    found = measured(operators.nms)
    assert found['passed'] is False
    assert found['nms iou, 200 boxes']['differ'] == 1 and found['batched_nms, 400 boxes']['same_as_cpu'] is True

    forward = operators.ops.roi_align_forward
    monkeypatch.setattr(
        operators.ops,
        'roi_align_forward',
        lambda x, rois, *args, **kwargs: forward(
            x, rois if rois.dtype == torch.float64 else rois.half().float(), *args, **kwargs
        ),
        raising=False,
    )
    found = measured(operators.roi_align)  # RoIs in half precision, which a kernel might use
    assert found['passed'] is False and not found['fp32']['passed']

    backward = operators.ops.sigmoid_focal_loss_backward
    monkeypatch.setattr(
        operators.ops,
        'sigmoid_focal_loss_backward',
        lambda x, *args: backward(x, *args) * (1.1 if x.dtype == torch.bfloat16 else 1),
        raising=False,
    )
    found = measured(operators.focal_loss)
    assert [found[name]['passed'] for name in ('fp32', 'fp16', 'bf16')] == [True, True, False]
