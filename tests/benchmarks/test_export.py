"""mmcnn benchmark export."""

import pytest

from mmcnn.benchmarks import export
from mmcnn.cli.main import main
from mmcnn.datasets.folders.shapes import make_shapes
from mmcnn.deployment.options import ExportOptions


def test_ratios_are_of_the_same_round():
    """On a machine that is twice as slow in the second round, a side stays at half of PyTorch's time."""
    lines = export.report({'PyTorch, folded': [0.1, 0.2, 0.1], 'ONNX Runtime': [0.05, 0.1, 0.06]}).splitlines()
    assert lines[0].split() == ['PyTorch,', 'folded', '100.00', 'ms', '1.00', 'of', 'folded', '(1.00', 'to', '1.00)']
    assert lines[1].split() == ['ONNX', 'Runtime', '60.00', 'ms', '0.50', 'of', 'folded', '(0.50', 'to', '0.60)']


def test_only_an_export_has_a_source(capsys):
    with pytest.raises(SystemExit) as end:
        main(['benchmark', 'nms', 'yolov5_n'])
    assert end.value.code == 1
    assert "'yolov5_n': only mmcnn benchmark export takes a SOURCE; --config names the model" in capsys.readouterr().err


def test_what_cannot_be_measured_is_said(tmp_path, monkeypatch):
    """A compiler that fails, and packages that are missing."""
    from mmcnn.errors import DependencyError

    def missing(to, precision):
        raise DependencyError(f'to={to} needs the package a')

    def fail(*args, **kwargs):
        raise RuntimeError('no compiler\nof any kind')

    monkeypatch.setattr(export.torch, 'compile', lambda module, **_: fail)
    monkeypatch.setattr(export, 'check_packages', missing)
    monkeypatch.setattr(export, 'LEAST', 0)
    said, scenes = [], make_shapes(tmp_path / 'data', num_train=1, num_val=2, size=64)
    seconds = export.measure(ExportOptions(source='resnet18', img_size=32, data=scenes), 2, said.append)
    assert list(seconds) == ['PyTorch', 'PyTorch, folded']
    assert said[1:] == [
        'torch.compile: not measured, it fails here (no compiler)',
        'ONNX Runtime: not measured, to=onnx needs the package a',
        'OpenVINO: not measured, to=openvino needs the package a',
    ]


@pytest.mark.slow
def test_every_side(monkeypatch):
    pytest.importorskip('nncf')
    monkeypatch.setattr(export, '_compiled', lambda *args: {})
    options = ExportOptions(source='yolov4_cspdarknet53_narrow', img_size=64, data='demo')
    seconds = export.measure(options, 1, lambda line: None)
    assert list(seconds) == [
        'PyTorch',
        'PyTorch, folded',
        'ONNX Runtime',
        'ONNX Runtime, exact Mish',
        'OpenVINO',
        'ONNX Runtime, int8',
        'OpenVINO, int8',
    ]
