import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmcnn import compat

ROOT = Path(__file__).resolve().parents[2]


def python(code, *path):
    """Run code in a fresh interpreter; returns what it printed and its last line of errors."""
    environment = os.environ | {'PYTHONPATH': os.pathsep.join(map(str, [*path, ROOT])), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], env=environment, capture_output=True, text=True)
    return done.stdout.strip(), (done.stderr.strip().splitlines() or [''])[-1]


def test_mmdet_models_import_after_it_and_not_in_it():
    code = """
import sys
import mmcnn.compat
mmcnn.compat.apply()
assert not {'mmdet.models', 'mmcv.ops'} & set(sys.modules), 'heavy imports'
import mmdet.models, mmcv.utils
assert mmcv.utils.collect_env()['MMCV Compiler']
print(mmdet.models.FasterRCNN.__name__)
"""
    assert python(code) == ('FasterRCNN', '')


def test_compiled_mmcv_is_left_alone(tmp_path):
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').write_text('')
    (tmp_path / 'mmcv' / '_ext.py').write_text("nms = 'compiled'")
    code = """
import sys
import mmcnn.compat
mmcnn.compat.apply()
assert 'mmcv._ext' not in sys.modules
import mmcv._ext
print(mmcv._ext.nms)
"""
    assert python(code, tmp_path) == ('compiled', '')


def test_without_mmcv_one_sentence_says_what_to_install():
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == 'mmcv':
            raise ModuleNotFoundError("No module named 'mmcv'", name='mmcv')
sys.meta_path.insert(0, Absent())
import mmcnn
"""
    _, error = python(code)
    assert error.startswith('ImportError: mmcnn needs mmcv, which is not installed: run `pip install "mmcnn[lite]"`')
    assert error.endswith('or install a compiled mmcv 2.1.0.')


def test_old_torch_is_refused(monkeypatch):
    monkeypatch.setattr(torch, '__version__', '2.5.1+cpu')
    with pytest.raises(ImportError, match=r'^mmcnn needs torch 2\.6 or newer.*, not 2\.5\.1\+cpu: run `pip install'):
        compat.apply()


def test_repeating_changes_nothing():
    extension, allowed = sys.modules['mmcv._ext'], set(torch.serialization.get_safe_globals())
    compat.apply()
    assert sys.modules['mmcv._ext'] is extension
    assert set(torch.serialization.get_safe_globals()) == allowed
