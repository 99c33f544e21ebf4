import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from mmcnn.cli import infer as cli_infer
from mmcnn.cli.infer import split_arguments
from mmcnn.errors import DependencyError, UsageError

CONFIG = 'yolov4_cspdarknet53_narrow'
PACKAGE = Path(__file__).resolve().parents[2] / 'mmcnn'


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('best.pth', 'v4.weights', 'a.jpg', 'b.jpg', 'mine.py'):
        (tmp_path / name).touch()


@pytest.mark.parametrize(
    ('names', 'expected'),
    [
        (['best.pth', 'a.jpg'], (None, 'best.pth', ['a.jpg'])),
        (['best.pth', 'a.jpg', 'b.jpg'], (None, 'best.pth', ['a.jpg', 'b.jpg'])),
        (['mine.py', 'best.pth', 'a.jpg'], ('mine.py', 'best.pth', ['a.jpg'])),
        ([CONFIG, 'best.pth', 'a.jpg', 'b.jpg'], (CONFIG, 'best.pth', ['a.jpg', 'b.jpg'])),
        ([f'configs/{CONFIG}.py', 'best.pth', 'a.jpg'], (f'configs/{CONFIG}.py', 'best.pth', ['a.jpg'])),
        ([f'configs/{CONFIG}', 'best.pth', 'a.jpg'], (f'configs/{CONFIG}', 'best.pth', ['a.jpg'])),
        # The config does not exist, and the error must say so.
        (['yolov4_cspdarknet35', 'best.pth', 'a.jpg'], ('yolov4_cspdarknet35', 'best.pth', ['a.jpg'])),
        (['yolov4_cspdarknet35', 'v4.weights', 'a.jpg'], ('yolov4_cspdarknet35', 'v4.weights', ['a.jpg'])),
        (['v4.weights', 'a.jpg'], (None, 'v4.weights', ['a.jpg'])),
        (['gone.pth', 'a.jpg', 'b.jpg'], (None, 'gone.pth', ['a.jpg', 'b.jpg'])),
        (['best.pth', '0'], (None, 'best.pth', ['0'])),
    ],
)
def test_config_checkpoint_and_sources_are_told_apart(here, names, expected):
    assert split_arguments(names) == expected


@pytest.mark.parametrize('names', [[CONFIG, 'best.pth'], ['mine.py', 'best.pth']])
def test_a_source_has_to_be_named(here, names):
    with pytest.raises(UsageError, match=r'SOURCE is missing: name an image, a folder or a video after best'):
        split_arguments(names)


def test_a_checkpoint_has_to_be_named_after_a_config(here):
    with pytest.raises(UsageError, match=r'CHECKPOINT is missing: name a file of weights between .* and street\.jpg'):
        split_arguments([CONFIG, 'street.jpg'])


def test_options_may_stand_anywhere(run_command, trained, shapes, tmp_path):
    image = sorted((shapes / 'images').iterdir())[0]
    calls = [
        [trained.checkpoint, '--out', 'a', image],
        ['--out', 'b', trained.checkpoint, image, '--score-thr', '0.5', '--format', 'coco', '--format', 'yolo'],
        [trained.checkpoint, image, '--out', 'c', '--device', 'cpu'],
    ]
    for call in calls:
        result = run_command('infer', *call, cwd=tmp_path)
        assert result.code == 0
        assert result.out.endswith(f'the drawn images and detections.json are in {call[call.index("--out") + 1]}\n')
    assert all(list(json.loads((tmp_path / name / 'detections.json').read_text())) == [image.name] for name in 'abc')
    assert sorted(os.listdir(tmp_path / 'b')) == ['coco.json', 'detections.json', image.name, 'yolo']


def test_summary(run_command, trained, shapes, videos, tmp_path):
    videos.make_video(tmp_path / 'clip.mp4', count=2)
    for i in range(25):
        (tmp_path / f'{i:02}.heic').touch()
    args = [trained.checkpoint, tmp_path, '--score-thr', '1', '--out', tmp_path / 'out']
    lines = run_command('infer', *args).out.splitlines()
    assert len(lines) == 22
    assert lines[0].startswith(f'left out: {tmp_path}/00.heic is not read')
    assert lines[20] == 'left out: 5 more'
    assert (
        lines[21] == f'0 objects in 2 frames of 1 video; the drawn videos and detections.json are in {tmp_path / "out"}'
    )
    images = shapes / 'images'
    args = [trained.checkpoint, images, tmp_path / 'clip.mp4', '--score-thr', '1', '--out', tmp_path / 'both']
    (line,) = run_command('infer', *args).out.splitlines()
    assert line.startswith(
        '0 objects in 12 images and 2 frames of 1 video; the drawn images and videos and detections.json'
    )


def test_damaged_videos_are_one_sentence_each(run_tool, videos, trained, tmp_path, capfd):
    videos.damage(videos.make_video(tmp_path / 'a.avi', count=40), 0.5, 0.52)
    result = run_tool('infer', trained.checkpoint, tmp_path / 'a.avi', '--out', tmp_path / 'out')
    assert result.code == 0
    assert result.out.count('\n') == 2 and 'a.avi: only ' in result.out
    videos.cut(videos.make_video(tmp_path / 'b.mp4'), 0.5)
    result = run_tool('infer', trained.checkpoint, tmp_path / 'b.mp4', '--out', tmp_path / 'out2')
    assert (result.code, result.err.count('\n')) == (1, 1)
    assert 'b.mp4 is not a video that OpenCV can read' in result.err


def test_the_module_loads_nothing_heavy():
    # Empty packages replace mmcnn and mmcnn.cli, whose imports do not count.
    code = (
        'import argparse, sys, types\n'
        f'for name, path in (("mmcnn", {str(PACKAGE)!r}), ("mmcnn.cli", {str(PACKAGE / "cli")!r})):\n'
        '    sys.modules[name] = types.ModuleType(name)\n'
        '    sys.modules[name].__path__ = [path]\n'
        'from mmcnn.cli import infer\n'
        'infer.add_arguments(argparse.ArgumentParser())\n'
        'print(*{name.partition(".")[0] for name in sys.modules})'
    )
    loaded = set(
        subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {'torch', 'cv2', 'numpy', 'PIL', 'matplotlib', 'mmengine', 'mmcv', 'mmdet'}


def test_exported_networks_need_no_pytorch(exported, tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), exported.cells((0, 1, (0, 0, 255))))
    code = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'torchvision', 'mmcv', 'mmengine', 'mmdet'):
            raise AssertionError(f'{name} is imported')

sys.meta_path.insert(0, Blocked())
from mmcnn.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
    call = [sys.executable, '-c', code, 'infer', exported(), tmp_path / 'a.png', '--out', tmp_path / 'out']
    result = subprocess.run(list(map(str, call)), capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, '')
    assert result.stdout == f'1 object in 1 image; the drawn images and detections.json are in {tmp_path / "out"}\n'


def test_packages_that_drawing_needs(exported, run_command, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, 'mmcnn.runs.infer', raising=False)
    monkeypatch.setitem(sys.modules, 'mmcnn.plots.fonts', None)  # simulates a missing dependency
    monkeypatch.setattr(cli_infer, '_DRAWING', {'mmcnn.plots.fonts': 'matplotlib', 'PIL': 'pillow'})
    with pytest.raises(
        DependencyError, match=r'mmcnn\.plots\.fonts, which is not installed: pip install matplotlib pillow$'
    ):
        run_command('infer', exported(), tmp_path)
