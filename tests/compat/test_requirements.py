import pytest
import torch

from mmcnn import compat

WITHOUT_MMCV = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == 'mmcv':
            raise ModuleNotFoundError("No module named 'mmcv'", name='mmcv')
sys.meta_path.insert(0, Absent())
import mmcnn
print(mmcnn.__version__)
"""


@pytest.mark.parametrize(
    'need',
    [
        'mmcnn.compat.check()',
        'import mmcnn.registry',
        'import mmcnn.models.wiring',
        'import mmcnn.datasets',
        'mmcnn.list_backbones()',
        'mmcnn.Detector',
        'mmcnn.fuse',
    ],
)
def test_without_mmcv_one_sentence_says_what_to_install(need, python):
    printed, error = python(WITHOUT_MMCV + need)
    assert printed.count('.') == 2, 'import mmcnn alone needs none'
    assert error.startswith('mmcnn.errors.DependencyError: mmcnn needs mmcv, which is not installed: run ')
    assert '`pip install "mmcnn[lite]"`' in error
    assert error.endswith('or install a compiled mmcv 2.1.0.')


def test_old_torch_is_refused(monkeypatch):
    monkeypatch.setattr(torch, '__version__', '2.5.1+cpu')
    with pytest.raises(ImportError, match=r'^mmcnn needs torch 2\.6 or newer.*, not 2\.5\.1\+cpu: run `pip install'):
        compat.check()


@pytest.fixture
def fake_torch(tmp_path):
    """``fake_torch(version)``: a folder for the path with a torch that only has a version."""

    def make(version):
        (tmp_path / 'torch').mkdir()
        (tmp_path / 'torch' / '__init__.py').write_text(f'__version__ = {version!r}\n')
        return tmp_path

    return make


def test_old_torch_is_refused_before_mmengine_meets_it(fake_torch, python):
    code = 'import mmcnn, torch; print(torch.__version__, flush=True); import mmcnn.registry'
    printed, error = python(code, fake_torch('1.13.1+cu117'))
    assert printed == '1.13.1+cu117', 'torch alone is not refused: mmcnn does not need it yet'
    assert error.startswith('mmcnn.errors.DependencyError: mmcnn needs torch 2.6 or newer')
    assert 'not 1.13.1+cu117' in error
