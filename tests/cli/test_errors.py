"""What a user gets wrong is answered with one sentence."""

import os
import re
import signal

import pytest
from torch.utils.data import DataLoader

from mmcnn import cli
from mmcnn.errors import CheckpointError, DataError, TrainingError

CONFIG = 'yolov4_cspdarknet53'
ERRORS = {
    'config': (['yolov4_cspdarknet35'], r"no config file 'yolov4_cspdarknet35'.*did you mean yolov4_cspdarknet53"),
    'config path': (['configs/yolov4.py'], r"no config file 'configs/yolov4\.py'.*did you mean yolov4_cspdarknet53"),
    'backbone': (
        [CONFIG, 'model.backbone.type=mmcnn.cspdarknet35'],
        r"no backbone is called 'cspdarknet35'; did you mean cspdarknet53",
    ),
    'part': ([CONFIG, 'model.neck.type=mmcnn.YOLO4PAN'], r"'mmcnn\.YOLO4PAN'; did you mean mmcnn\.YOLOv4PAN"),
    'channels': (
        [CONFIG, 'model.neck.in_channels=[1,2,3]'],
        r'neck\.in_channels=\[1, 2, 3\] does not fit mmcnn\.cspdarknet53, which gives \[256, 512, 1024\]',
    ),
    'backbone argument': (
        [CONFIG, 'model.backbone.wide=2'],
        r"CSPDarknet has no argument 'wide'; did you mean widen_factor",
    ),
    'head argument': ([CONFIG, 'model.bbox_head.anchor=2'], r"YOLOHead.*unexpected keyword argument 'anchor'"),
    'levels': ([CONFIG, 'model.backbone.out_indices=(2,3,4,5)'], r'YOLOv4PAN joins three maps'),
    'classes': (
        [CONFIG, 'model.bbox_head.num_classes=2'],
        r"num_classes=2 of mmcnn\.YOLOHead, but the training images have 3 classes, \('circle', 'square', 'triangle'\)",
    ),
    "MMDetection's classes": (
        ['yolov3_darknet53', 'model.bbox_head.num_classes=80'],
        r'num_classes=80 of YOLOV3Head, but the training images have 3 classes',
    ),
    'classes of regions': (
        ['faster_rcnn_resnet-fpn', 'model.roi_head.bbox_head.num_classes=4'],
        r'num_classes=4 of Shared2FCBBoxHead, but the training images have 3 classes',
    ),
    'classes of a classifier': (
        ['classification/darknet53', 'model.num_classes=2'],
        r'num_classes=2 of mmcnn\.Classifier, but the training images have 3 classes',
    ),
    'no folder': ([CONFIG, '--data', 'nowhere'], r'nowhere does not exist; a data folder holds train\.json'),
    'img-size': ([CONFIG, '--img-size', 100], r'--img-size 100: it has to be a multiple of 32'),
    'small img-size': ([CONFIG, '--img-size', 0], r'--img-size 0: it has to be a multiple of 32'),
    'batch-size': ([CONFIG, '--batch-size', 0], r'--batch-size 0: it has to be at least 1'),
    'epochs': ([CONFIG, '--epochs', 0], r'--epochs 0: it has to be at least 1'),
    'workers': ([CONFIG, '--workers', -1], r'--workers -1: it has to be at least 0'),
    'seed': ([CONFIG, '--seed', -1], r'--seed -1: it has to be at least 0'),
    'cuda:7': ([CONFIG, '--device', 'cuda:99'], r'--device cuda:99: PyTorch sees \d+ CUDA devices here'),
    'device': ([CONFIG, '--device', 'nonsense'], r'--device nonsense: this is no device; say cpu, cuda or cuda:N'),
    'meta': ([CONFIG, '--device', 'meta'], r'--device meta: this is no device'),
    'amp': ([CONFIG, '--amp', '--device', 'cpu'], r'--amp needs a GPU'),
    'option': ([CONFIG, 'model.type.x=1'], r"--cfg-options \{'model\.type\.x': 1\} cannot be set"),
    'load_from': ([CONFIG, 'load_from=nowhere.pth'], r'nowhere\.pth does not exist'),
    'address': ([CONFIG, 'load_from=https://x.org/y.pth'], r'load_from=https://x\.org/y\.pth is an address: download'),
}


@pytest.mark.parametrize('case', ERRORS)
def test_errors_are_one_sentence(run_tool, shapes, request, tmp_path, case):
    (name, *args), pattern = ERRORS[case]
    options = [arg for arg in args if '=' in str(arg)]
    args = [arg for arg in args if arg not in options]
    if '--data' not in args:
        args += ['--data', request.getfixturevalue('shape_classes') if 'classification' in name else shapes]
    if options:
        args += ['--cfg-options', *options]
    result = run_tool('train', name, *args, cwd=tmp_path)
    assert result.code == 1
    assert re.fullmatch(rf'error: .*{pattern}.*\n', result.err), result.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('error', [cli.UsageError, DataError, CheckpointError])
def test_friendly_errors(error, monkeypatch):
    with pytest.raises(SystemExit, match=r'^error: what was wrong$'), cli.friendly_errors():
        raise error('what was wrong')
    monkeypatch.setenv('MMCNN_TRACEBACK', '1')
    with pytest.raises(error), cli.friendly_errors():
        raise error('what was wrong')


def test_friendly_ends(monkeypatch):
    ends = {TrainingError('rank 1 has died'): 'error: rank 1 has died', KeyboardInterrupt(): 130}
    for error, code in ends.items():
        with pytest.raises(SystemExit) as end, cli.friendly_errors():
            raise error
        assert end.value.code == code
    monkeypatch.setenv('MMCNN_TRACEBACK', '1')
    for error in ends:
        with pytest.raises(type(error)), cli.friendly_errors():
            raise error


def test_data_loading_processes_that_cannot_start_or_have_died(full_shm):
    """Outside of a training, which explains its own."""
    loader = DataLoader(range(50), num_workers=1, multiprocessing_context='fork')
    batches = iter(loader)
    os.kill(batches._workers[0].pid, signal.SIGKILL)
    with pytest.raises(SystemExit, match=r'^error: a data-loading process, pid \d+, has died'), cli.friendly_errors():
        list(batches)
    full_shm()
    with pytest.raises(SystemExit, match='processes cannot be started: /dev/shm is full'), cli.friendly_errors():
        iter(loader)


def test_faults_of_the_program_keep_their_traceback():
    for error in (ValueError('a bug'), RuntimeError('a bug'), OSError('a bug')):
        with pytest.raises(type(error), match='a bug'), cli.friendly_errors():
            raise error
