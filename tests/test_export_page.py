"""The examples of docs/export.md, run unchanged."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmcnn.runtime import Detector

DOCS = Path(__file__).resolve().parents[1] / 'docs'
PYTHON = re.findall(
    r'^```python\n(.*?)^```', (DOCS / 'export.md').read_text(encoding='utf-8'), re.MULTILINE | re.DOTALL
)
#: A line that an example may print for a box.
LINE = re.compile(r'(\w+) (\d\.\d+) \[?([^\]]*)\]?')


@pytest.fixture
def detected(exported, monkeypatch, tmp_path):
    """``detected(**changes)``: write m.onnx and street.jpg here, and return the runner's detections in the image."""

    def make(**changes):
        exported('m.onnx', form='nms', **changes)
        # The image is larger than the input and has another aspect ratio, so it is resized and padded.
        image = exported.cells((0, 0, (0, 0, 250)), (1, 1, (0, 0, 200)), (2, 3, (40, 30, 230)), shape=(3, 4), side=50)
        cv2.imwrite(str(tmp_path / 'street.jpg'), image)
        monkeypatch.chdir(tmp_path)
        found = Detector('m.onnx')('street.jpg')
        assert len(found.boxes) >= 2
        return found

    return make


def assert_printed(text, found):
    lines = [LINE.fullmatch(' '.join(line.split())) for line in text.strip().splitlines()]
    assert [line[1] for line in lines] == list(found.names)
    np.testing.assert_allclose([float(line[2]) for line in lines], found.scores, atol=1e-4)
    np.testing.assert_allclose([np.fromstring(line[3], sep=' ') for line in lines], found.boxes, atol=0.01)


@pytest.mark.parametrize(
    'changes',
    [
        dict(),
        dict(input=dict(dtype='uint8', layout='NHWC')),
        dict(fit=dict(place='corner', shrink='linear', value=(114.0,) * 3)),
        dict(clip=False),
    ],
    ids=['float', 'uint8', 'corner', 'unclipped'],
)
@pytest.mark.parametrize('code', PYTHON, ids=['runtime', 'onnxruntime'])
def test_python(code, changes, detected, capsys):
    found = detected(**changes)
    exec(compile(code, 'docs/export.md', 'exec'), {})
    assert_printed(capsys.readouterr().out, found)


@pytest.mark.campaign
@pytest.mark.parametrize(
    'changes',
    [dict(), dict(input=dict(dtype='uint8', layout='NHWC')), dict(input=dict(image_size=True, batch=1))],
    ids=['float', 'uint8', 'im_size'],
)
def test_cpp(changes, detected, tmp_path):
    """$MMCNN_ONNXRUNTIME must be the folder of an unpacked release of ONNX Runtime, with include/ and lib/."""
    library = os.environ.get('MMCNN_ONNXRUNTIME')
    if not library:
        pytest.skip('MMCNN_ONNXRUNTIME names no release of ONNX Runtime')
    if shutil.which('g++') is None or shutil.which('pkg-config') is None:
        pytest.skip('needs g++, pkg-config, libopencv-dev and nlohmann-json3-dev')
    found = detected(**changes)
    flags = subprocess.check_output(['pkg-config', '--cflags', '--libs', 'opencv4'], text=True).split()
    program = tmp_path / 'detect'
    subprocess.run(
        ['g++', '-std=c++17', '-Wall', DOCS / 'cpp' / 'detect.cpp', '-o', program, f'-I{library}/include',
         f'-L{library}/lib', f'-Wl,-rpath,{library}/lib', '-lonnxruntime', *flags], check=True,
    )  # fmt: skip
    printed = subprocess.check_output([program, 'm.onnx', 'street.jpg'], text=True)
    assert_printed(printed, found)
    failed = subprocess.run([program, 'gone.onnx', 'street.jpg'], capture_output=True, text=True, check=False)
    assert failed.returncode == 1 and failed.stderr.startswith('error: ')
