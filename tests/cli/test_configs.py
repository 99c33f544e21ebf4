"""mmcnn configs on the command line."""

from pathlib import Path

import pytest

from mmcnn.errors import UsageError

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


def test_lists_every_config_with_what_it_is(run_command):
    result = run_command('configs')
    assert result.code == 0
    lines = [line.split(maxsplit=1) for line in result.out.splitlines()]
    files = [*CONFIGS.glob('*.py'), *CONFIGS.glob('classification/*.py')]
    assert len(lines) == len(files) > 40
    assert {name for name, _ in lines} == {str(path.relative_to(CONFIGS))[:-3] for path in files}
    assert [
        'yolov5_n_small',
        'YOLOv5n for small data: a few hundred photographs, tens of epochs, from scratch.',
    ] in lines
    assert [name.startswith('classification/') for name, _ in lines] == sorted('/' in name for name, _ in lines)


def test_some_of_them(run_command):
    lines = run_command('configs', 'yolov3*').out.splitlines()
    assert [line.split()[0] for line in lines] == ['yolov3_darknet53', 'yolov3_darknet53_320', 'yolov3_darknet53_416']
    assert len({line.index('YOLOv3 on') for line in lines}) == 1  # aligned


def test_classifiers_are_found_without_their_folder(run_command):
    lines = run_command('configs', 'resnet50*').out.splitlines()
    assert [line.split()[0] for line in lines] == ['classification/resnet50', 'classification/resnet50v2']


def test_path(run_command):
    out = run_command('configs', 'classification/resnet50', '--path').out
    assert Path(out.strip()).is_file() and out == f'{CONFIGS}/classification/resnet50.py\n'


def test_a_name_that_does_not_exist(run_command):
    message = r"^no config that comes with mmcnn is called 'yolov4_cspdarknet35'; did you mean yolov4_cspdarknet53"
    with pytest.raises(UsageError, match=message):
        run_command('configs', 'yolov4_cspdarknet35')


def test_loads_nothing_heavy(loaded_by):
    loaded = loaded_by('configs')
    assert 'mmcnn' in loaded and not loaded & {'torch', 'numpy', 'mmengine', 'mmcv', 'mmdet', 'matplotlib', 'cv2'}
