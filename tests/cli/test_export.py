from types import SimpleNamespace

import pytest

from mmcnn.deployment import export


@pytest.mark.parametrize(('option', 'more'), [('--web', 1), ('--triton', 0)])
def test_a_page_says_how_it_is_served(option, more, run_command, monkeypatch):
    def run(options):
        assert (options.web, options.triton) == (('place', None) if more else (None, 'place'))
        assert options.source == 'yolov5_n'
        metadata = SimpleNamespace(task='detection', form='nms')
        checked = SimpleNamespace(summary='8 images', time_ratio=0.5)
        return SimpleNamespace(path='place/model.onnx', size=2e6, metadata=metadata, checked=checked, accuracy=None)

    monkeypatch.setattr(export, 'run_export', run)
    lines = run_command('export', 'yolov5_n', option, 'place').out.splitlines()
    assert lines[2] == 'place/model.onnx: 2.0 MB, detection, form nms'
    assert lines[3:] == ['page     python -m http.server --directory place 8000, then http://localhost:8000'] * more
