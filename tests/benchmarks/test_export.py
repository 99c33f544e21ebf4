"""mmcnn benchmark export."""

import pytest

from mmcnn.benchmarks import export
from mmcnn.benchmarks.options import ExportBenchmarkOptions
from mmcnn.cli.main import main
from mmcnn.datasets.folders.shapes import make_shapes
from mmcnn.runtime.sessions import openvino_has_bfloat16


def test_only_an_export_has_a_source(capsys):
    with pytest.raises(SystemExit) as end:
        main(['benchmark', 'nms', 'yolov5_n'])
    assert end.value.code == 2
    assert 'unrecognized arguments: yolov5_n' in capsys.readouterr().err


def test_what_cannot_be_measured_is_said(tmp_path, monkeypatch):
    """Here a compiler fails, and packages are missing."""
    from mmcnn.errors import DependencyError

    def missing(to, precision):
        raise DependencyError(f'to={to} needs the package a')

    def fail(*args, **kwargs):
        raise RuntimeError('no compiler\nof any kind')

    monkeypatch.setattr(export.torch, 'compile', lambda module, **_: fail)
    monkeypatch.setattr(export, 'check_packages', missing)
    monkeypatch.setattr(export, 'LEAST', 0)
    said, scenes = [], make_shapes(tmp_path / 'data', num_train=1, num_val=2, size=64)
    options = ExportBenchmarkOptions(source='resnet18', img_size=32, data=str(scenes), runs=2)
    (found,) = export.measure(options, said.append)
    assert found.best_peer == 'PyTorch, folded' and found.row == 'resnet18'
    assert list(found.figures) == ['PyTorch', 'PyTorch, folded']
    assert said[1:] == [
        'torch.compile: not measured, it failed (no compiler)',
        'ONNX Runtime: not measured, to=onnx needs the package a',
        'OpenVINO: not measured, to=openvino needs the package a',
    ]


@pytest.mark.slow
def test_every_side(monkeypatch):
    pytest.importorskip('nncf')
    monkeypatch.setattr(export, '_compiled', lambda *args: {})
    said, has_bfloat16 = [], openvino_has_bfloat16()
    options = ExportBenchmarkOptions(source='yolov4_cspdarknet53_narrow', img_size=64, data='demo', runs=1)
    (found,) = export.measure(options, said.append)
    assert ('OpenVINO, bfloat16: not measured, this processor does not compute in it' in said) == (not has_bfloat16)
    assert list(found.figures) == [
        'PyTorch',
        'PyTorch, folded',
        'ONNX Runtime',
        'ONNX Runtime, exact Mish',
        'OpenVINO',
        *(['OpenVINO, bfloat16'] if has_bfloat16 else []),
        'ONNX Runtime, int8',
        'OpenVINO, int8',
    ]
