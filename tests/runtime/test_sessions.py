"""The backend that runs a file, and its number of threads; it is never replaced silently."""

import subprocess
import sys

import onnxruntime
import pytest

from mmcnn.errors import CheckpointError, DependencyError, UsageError
from mmcnn.runtime import Detector, sessions

RED = (0, 0, 255)


@pytest.fixture
def openvino_file(exported):
    """``openvino_file(**changes)``: the .xml file of a small detector."""
    openvino = pytest.importorskip('openvino')

    def make(**changes):
        path = exported(**changes)
        model = openvino.convert_model(path)
        model.set_rt_info(exported.metadata_of(**changes).to_json(), ['model_info', 'mmcnn'])
        openvino.save_model(model, path.with_suffix('.xml'), compress_to_fp16=False)
        return path.with_suffix('.xml')

    return make


def test_openvino_finds_the_same(openvino_file, exported):
    image = exported.cells((0, 1, RED), (1, 2, (0, 128, 0)))
    path = openvino_file()
    expected = Detector(path.with_suffix('.onnx'))(image)
    assert len(expected) == 2
    for detector in (
        Detector(path),
        Detector(path, threads=1),
        Detector(path.with_suffix('.onnx'), provider='openvino'),
    ):
        found = detector(image)
        assert (found.names, found.boxes.tolist()) == (expected.names, expected.boxes.tolist())
        assert found.scores.tolist() == pytest.approx(expected.scores.tolist(), abs=1e-6)
        assert detector.metadata.classes == ('blue', 'green', 'red')


def computed_in(path):
    return Detector(path)._session._model.get_property('INFERENCE_PRECISION_HINT').type_name


@pytest.mark.parametrize('precision', ['fp32', 'fp16', 'int8'])
def test_openvino_computes_in_float32(precision, openvino_file):
    assert computed_in(openvino_file(precision=precision)) == 'f32'


def test_openvino_computes_in_bfloat16_if_the_file_asks_for_it(openvino_file, monkeypatch):
    path = openvino_file(precision='bf16')
    if sessions.openvino_has_bfloat16():
        assert computed_in(path) == 'bf16' and Detector(path).runtime.endswith(', bfloat16')
    monkeypatch.setattr(sessions, 'openvino_has_bfloat16', lambda: False)
    assert computed_in(path) == 'f32' and 'bfloat16' not in Detector(path).runtime


@pytest.mark.slow
def test_signals_after_several_sessions_of_openvino(openvino_file):
    """On processors with AMX, a signal after freeing a Core of OpenVINO ends the process, so mmcnn shares one Core."""
    code = f"""
import gc, signal, subprocess, sys
from pathlib import Path
import numpy as np
from mmcnn.runtime import Detector
signal.signal(signal.SIGCHLD, lambda *_: None)
image = np.zeros((64, 64, 3), np.uint8)
first, second = (Detector({str(openvino_file())!r}) for _ in range(2))
first(image), second(image)
del first
gc.collect()
del second
gc.collect()
for _ in range(3):
    Detector({str(openvino_file())!r})(image)
gc.collect()
for _ in range(5):
    subprocess.run([sys.executable, '-c', ''], check=True)
print('alive')
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, 'alive\n'), done.stderr


def test_openvino_without_its_weights(openvino_file, exported):
    path = openvino_file(form='nms')
    path.with_suffix('.bin').unlink()
    with pytest.raises(CheckpointError, match=r"m\.xml cannot be read as OpenVINO's: .*") as error:
        Detector(path)
    assert '\n' not in str(error.value)


def test_openvino_without_metadata(openvino_file):
    path = openvino_file()
    path.write_text(path.read_text().replace('<mmcnn ', '<other '))
    with pytest.raises(CheckpointError, match='has no metadata of mmcnn'):
        Detector(path)


def test_full_names(exported):
    assert len(Detector(exported(), provider='CPUExecutionProvider')(exported.cells((0, 1, RED)))) == 1


@pytest.mark.parametrize('provider', ['cuda', 'gpu', 'MIGraphXExecutionProvider'])
def test_providers_that_are_not_there(provider, exported, monkeypatch):
    monkeypatch.setattr(onnxruntime, 'get_available_providers', lambda: ['CPUExecutionProvider'])
    with pytest.raises(UsageError, match=rf"provider='{provider}' is not available here; available are cpu") as error:
        Detector(exported(), provider=provider)
    assert str(error.value).endswith('by full name, CPUExecutionProvider')


def test_a_provider_that_does_not_start_is_not_replaced(exported, monkeypatch):
    """ONNX Runtime itself would continue on the CPU."""
    names = ['CUDAExecutionProvider', 'CPUExecutionProvider']
    monkeypatch.setattr(onnxruntime, 'get_available_providers', lambda: names)
    with pytest.raises(UsageError, match=r"provider='cuda' fails to start, and CPUExecutionProvider would be used"):
        Detector(exported(), provider='cuda')


def test_providers_of_openvino_files(openvino_file):
    with pytest.raises(
        UsageError, match=r"provider='cuda': m\.xml is an OpenVINO file, which runs on the CPU: omit the option"
    ):
        Detector(openvino_file(), provider='cuda')


@pytest.mark.parametrize(('package', 'suffix'), [('onnxruntime', '.onnx'), ('openvino', '.xml')])
def test_packages_that_are_missing(package, suffix, openvino_file, monkeypatch):
    path = openvino_file().with_suffix(suffix)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DependencyError, match=rf'needs another package: pip install {package}'):
        Detector(path)


def test_threads(exported):
    assert Detector(exported(), threads=1)._session._session.get_session_options().intra_op_num_threads == 1
    assert Detector(exported())._session._session.get_session_options().intra_op_num_threads == 0
