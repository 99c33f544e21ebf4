"""Users' mistakes lead to an error of one sentence."""

import re
import warnings
from pathlib import Path

import pytest

import mmcnn
from mmcnn.cli.errors import friendly_errors, plain_warnings
from mmcnn.errors import CheckpointError, DataError, StoppedError, TrainingError, UsageError

CONFIG = 'yolov4_cspdarknet53'
ERRORS = {
    'config': (['yolov4_cspdarknet35'], r"no config file 'yolov4_cspdarknet35'.*did you mean yolov4_cspdarknet53"),
    'config path': (['configs/yolov4.py'], r"no config file 'configs/yolov4\.py'.*did you mean yolov4_cspdarknet53"),
    'backbone': (
        [CONFIG, 'model.backbone.type=mmcnn.cspdarknet35'],
        r"unknown backbone 'cspdarknet35'; did you mean cspdarknet53",
    ),
    'part': ([CONFIG, 'model.neck.type=mmcnn.YOLO4PAN'], r"'mmcnn\.YOLO4PAN'; did you mean mmcnn\.YOLOv4PAN"),
    'channels': (
        [CONFIG, 'model.neck.in_channels=[1,2,3]'],
        r'neck\.in_channels=\[1, 2, 3\] does not match mmcnn\.cspdarknet53, which has \[256, 512, 1024\]',
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
        r'num_classes=80 of mmcnn\.YOLOV3Head, but the training images have 3 classes',
    ),
    'classes of regions': (
        ['faster_rcnn_resnet50_fpn', 'model.roi_head.bbox_head.num_classes=4'],
        r'num_classes=4 of mmcnn\.Shared2FCBBoxHead, but the training images have 3 classes',
    ),
    'classes of a classifier': (
        ['classification/darknet53', 'model.num_classes=2'],
        r'num_classes=2 of mmcnn\.Classifier, but the training images have 3 classes',
    ),
    'no folder': ([CONFIG, '--data', 'nowhere'], r'nowhere does not exist; a data folder has train\.json'),
    'img-size': ([CONFIG, '--img-size', 100], r'img_size=100: it must be a multiple of 32'),
    'small img-size': ([CONFIG, '--img-size', 0], r'img_size=0: it must be a multiple of 32'),
    'batch-size': ([CONFIG, '--batch-size', 0], r'batch_size=0: the value must be at least 1'),
    'epochs': ([CONFIG, '--epochs', 0], r'epochs=0: the value must be at least 1'),
    'workers': ([CONFIG, '--workers', -1], r'workers=-1: the value must be at least 0'),
    'seed': ([CONFIG, '--seed', -1], r'seed=-1: the value must be at least 0'),
    'cuda:7': ([CONFIG, '--device', 'cuda:99'], r'device=cuda:99: PyTorch sees \d+ CUDA devices on this machine'),
    'device': ([CONFIG, '--device', 'nonsense'], r'device=nonsense: invalid device; use cpu, cuda or cuda:N'),
    'meta': ([CONFIG, '--device', 'meta'], r'device=meta: invalid device'),
    'amp': (
        [CONFIG, '--amp', 'fp16', '--device', 'cpu'],
        r'amp=fp16 needs a GPU: a CPU only supports bf16',
    ),
    'option': ([CONFIG, 'model.type.x=1'], r"cfg_options model\.type\.x: model\.type='mmcnn\.wired' has no ent"),
    'large seed': ([CONFIG, '--seed', 2**40], r'seed=1099511627776: the value must be at most 4294967295'),
    'brackets': ([CONFIG, 'a=[1,2'], r'--cfg-options a=\[1,2: the brackets do not match'),
    'no dict': ([CONFIG, 'model=3'], r'model=3: it must be a dict'),
    'no loader': ([CONFIG, 'train_dataloader=1'], r'train_dataloader=1: it must be a dict'),
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


@pytest.mark.parametrize(
    ('error', 'line', 'code'),
    [
        (UsageError('what was wrong'), 'error: what was wrong\n', 1),
        (DataError('what was wrong'), 'error: what was wrong\n', 1),
        (CheckpointError('what was wrong'), 'error: what was wrong\n', 1),
        (TrainingError('rank 1 has died'), 'error: rank 1 has died\n', 1),
        (StoppedError('stopped by SIGTERM', 15), 'stopped by SIGTERM\n', 143),
        (KeyboardInterrupt(), '', 130),
    ],
)
def test_errors_become_exit_codes(error, line, code, monkeypatch, capsys):
    with pytest.raises(SystemExit) as end, friendly_errors():
        raise error
    assert end.value.code == code
    assert capsys.readouterr() == ('', line)
    monkeypatch.setenv('MMCNN_TRACEBACK', '1')
    with pytest.raises(type(error)), friendly_errors():
        raise error


def test_own_warnings_are_one_line():
    own = str(Path(mmcnn.__file__).parent / 'inference' / 'detector.py')
    others = [
        (DeprecationWarning('a name has moved'), DeprecationWarning, own, 108, None),
        (UserWarning('of another package'), UserWarning, '/elsewhere/module.py', 7, None),
    ]
    usual = [warnings.formatwarning(*each) for each in others]
    with plain_warnings():
        plain = warnings.formatwarning(UserWarning('the scores are odd'), UserWarning, own, 108, None)
        assert plain == 'warning: the scores are odd\n'
        assert [warnings.formatwarning(*each) for each in others] == usual
    assert warnings.formatwarning(*others[0]) == usual[0] != 'warning: a name has moved\n'


def test_faults_of_the_program_keep_their_traceback():
    for error in (ValueError('a bug'), RuntimeError('a bug'), OSError('a bug')):
        with pytest.raises(type(error), match='a bug'), friendly_errors():
            raise error
