import pytest
import torch

from mmcnn.benchmarks import loading
from mmcnn.config.load import load_config
from mmcnn.config.model import wire_model
from mmcnn.weights import read_checkpoint, state_dict_of
from mmcnn.weights.checkpoint import Checkpoint


def test_a_written_checkpoint_is_that_of_a_training(tmp_path):
    cfg = load_config('yolov5_n')
    wire_model(cfg)
    loading.write_checkpoint(cfg, tmp_path / 'x.pth')
    ours, theirs = (call() for call in loading.sides(tmp_path / 'x.pth').values())
    assert ours.keys() == theirs['state_dict'].keys()
    assert all(torch.equal(ours[key], value) for key, value in theirs['state_dict'].items())
    checkpoint = Checkpoint.open(tmp_path / 'x.pth')
    checkpoint.refuse_unresumable()
    assert checkpoint.classes == ('circle', 'square')
    content = read_checkpoint(tmp_path / 'x.pth')
    assert len(content['message_hub']['log_scalars']['train/loss_cls'].data[0]) == loading.ITERATIONS
    assert len(content['optimizer']['state']) > 100 and state_dict_of(content).keys() == ours.keys()


def test_sides_run_in_turn_after_one_that_is_not_counted(monkeypatch, tmp_path):
    order, clock = [], iter([0.0, 9.0, 0.0, 9.0, 0.0, 0.25, 0.0, 0.5, 0.0, 0.75, 0.0, 0.25])
    monkeypatch.setattr(loading.time, 'perf_counter', lambda: next(clock))
    calls = {name: lambda name=name: order.append(name) for name in ('mmcnn', 'torch.load')}
    seconds = loading.measure(calls, runs=2)
    assert order == ['mmcnn', 'torch.load'] * 3
    assert seconds == {'mmcnn': pytest.approx([0.25, 0.75]), 'torch.load': pytest.approx([0.5, 0.25])}
    (tmp_path / 'x.pth').write_bytes(bytes(1_500_000))
    assert loading.report(tmp_path / 'x.pth', seconds) == (
        'x.pth, 1.5 MB, best of 2: mmcnn 0.2500 s, torch.load 0.2500 s, ratio 1.00'
    )
