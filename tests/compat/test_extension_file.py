"""The file that gives mmcv mmcnn's operators: written, found and deleted, beside other files, after installations."""

import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from pathlib import Path

import mmcv
import pytest

from mmcnn.compat import extension_file
from mmcnn.compat.extension_file import CONTENT, MARK, Place, install, look, remove
from mmcnn.errors import DependencyError, UsageError

ROOT = Path(__file__).resolve().parents[2]
MMCV = Path(mmcv.__file__).parent


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of an mmcv without operators, which is first on the path."""
    made = tmp_path / 'site' / 'mmcv'
    made.mkdir(parents=True)
    (made / '__init__.py').touch()
    monkeypatch.syspath_prepend(made.parent)
    return made


def test_it_is_written_found_and_deleted(folder):
    assert look() == Place(folder, 'none', None)
    assert install() == folder / '_ext.py'
    assert look() == Place(folder, 'ours', folder / '_ext.py')
    assert sorted(path.name for path in folder.iterdir()) == ['__init__.py', '_ext.py']
    assert install() == folder / '_ext.py'  # a second time
    assert remove() == folder / '_ext.py' and look().state == 'none'
    assert remove() is None


def test_the_file_of_another_release_is_written_anew(folder):
    (folder / '_ext.py').write_text(f'{MARK}\nimport mmcnn.somewhere_else\n')
    assert look().state == 'other release'
    install()
    assert (folder / '_ext.py').read_text() == CONTENT and look().state == 'ours'


@pytest.mark.parametrize('name', [f'_ext{EXTENSION_SUFFIXES[0]}', '_ext.py', '_ext'])
def test_a_compiled_mmcv_is_refused(name, folder):
    (folder / name).mkdir() if name == '_ext' else (folder / name).write_bytes(b'\x7fELF')
    assert look() == Place(folder, 'compiled', folder / name)
    with pytest.raises(UsageError, match=rf'its own operators, {folder / name}, .* nothing was written'):
        install()
    assert remove() is None and (folder / name).exists()


def test_operators_that_were_compiled_later_win(folder):
    install()
    (folder / f'_ext{EXTENSION_SUFFIXES[0]}').write_bytes(b'\x7fELF')
    assert look().state == 'compiled'
    assert PathFinder.find_spec('mmcv._ext', [str(folder)]).origin.endswith(EXTENSION_SUFFIXES[0])  # like Python
    assert remove() == folder / '_ext.py'


def test_what_pip_leaves_of_mmcv_is_no_mmcv(folder, monkeypatch):
    install()
    (folder / '__pycache__').mkdir()
    (folder / '__pycache__' / f'_ext.{sys.implementation.cache_tag}.pyc').touch()
    (folder / '__init__.py').unlink()
    monkeypatch.setattr(sys, 'path', [str(folder.parent)])
    assert look() == Place(folder, 'left', folder / '_ext.py')
    with pytest.raises(
        DependencyError, match=r'not installed \(.*_ext.py remains from an earlier one\): run `pip install'
    ):
        install()
    assert remove() == folder / '_ext.py'
    assert not folder.exists()
    monkeypatch.delitem(sys.modules, 'mmcv')
    assert look().state == 'missing'


def test_left_files_do_not_pass_for_mmcv(folder, monkeypatch):
    from mmcnn import compat

    install()
    (folder / '__init__.py').unlink()
    monkeypatch.setattr(sys, 'path', [str(folder.parent)])
    monkeypatch.delitem(sys.modules, 'mmcv')
    with pytest.raises(DependencyError, match='mmcnn needs mmcv, which is not installed'):
        compat.check()


def test_a_folder_that_cannot_be_written_to(folder, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(Path, 'write_text', refuse)
    with pytest.raises(
        UsageError, match=r'_ext.py cannot be written: Permission denied; instead, use `mmcnn run mmdet-tool`'
    ):
        install()
    assert look().state == 'none'
    monkeypatch.undo()


# ------------------------------------------------------------------------------------------------ in other processes


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """A folder with a copy of the installed mmcv, with our file instead of its operators."""
    site = tmp_path_factory.mktemp('copied')
    ignored = shutil.ignore_patterns('_ext*', '__pycache__')
    shutil.copytree(MMCV, site / 'mmcv', ignore=ignored)
    (site / 'mmcv' / '_ext.py').write_text(CONTENT)
    return site


def process(code, *path):
    environment = dict(PYTHONPATH=':'.join(map(str, path)), OMP_NUM_THREADS='1', PATH='/usr/bin')
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], env=environment, capture_output=True, text=True)
    return done.stdout.strip(), (done.stderr.strip().splitlines() or [''])[-1]


@pytest.mark.slow
def test_mmdetections_functions_work_without_an_import_of_mmcnn(site):
    code = """
from mmdet.apis import DetInferencer, init_detector
import sys, torch, mmcv._ext
from mmcv.ops import nms
boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 8, 9], [20, 20, 30, 30]])
print(nms(boxes, torch.tensor([0.5, 0.9, 0.3]), 0.5)[1].tolist(), mmcv._ext.__file__, 'mmcnn' in sys.modules)
"""
    assert process(code, site, ROOT) == (f'[1, 2] {site / "mmcv" / "_ext.py"} True', '')


def test_mmcv_itself_needs_no_mmcnn(site):
    code = "import sys; sys.modules['mmcnn'] = None; import mmcv; print(mmcv.__file__)"
    assert process(code, site) == (f'{site / "mmcv" / "__init__.py"}', '')


def test_where_mmcnn_is_gone_one_sentence_says_so(site):
    printed, error = process("import sys; sys.modules['mmcnn'] = None; import mmcv.ops", site)
    assert printed == ''
    assert error == (
        "ImportError: this mmcv uses mmcnn's operators, but mmcnn cannot be imported (import of mmcnn halted; None "
        f'in sys.modules): install mmcnn for this Python, or delete {site / "mmcv" / "_ext.py"}'
    )


def test_an_import_of_mmcnn_before_it_changes_nothing(site):
    code = 'import mmcnn, mmcv.ops, mmcv._ext; print(mmcv._ext.nms.__module__)'
    assert process(code, site, ROOT) == ('mmcnn.compat.mmcv_ext', '')


def test_the_place_is_looked_at_without_importing_mmcv(site):
    code = 'import sys; from mmcnn.compat import extension_file as e; print(e.look().state, "mmcv" in sys.modules)'
    assert process(code, site, ROOT) == ('ours False', '')


def test_only_our_file_is_ours(tmp_path):
    (tmp_path / 'x.py').write_bytes(b'\xff\xfe')
    assert not extension_file.is_ours(tmp_path / 'x.py') and not extension_file.is_ours(tmp_path / 'none.py')
