import re

import torch

from mmcnn.benchmarks import loading
from mmcnn.benchmarks.options import LoadingOptions
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


def test_torch_load_is_the_peer():
    said = []
    (found,) = loading.measure(LoadingOptions(config='yolov5_n', runs=1), said.append)
    assert found.row == 'yolov5_n.pth' and found.best_peer == 'torch.load'
    assert set(found.figures) == {'mmcnn', 'torch.load'}
    assert re.fullmatch(r'yolov5_n.pth, \d\d\.\d MB', said[0])
