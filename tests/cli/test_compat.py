"""mmcnn compat: its messages; its effects are tested with mmcnn/compat/extension_file.py."""

from importlib.machinery import EXTENSION_SUFFIXES

import pytest

from mmcnn.errors import UsageError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of an mmcv without operators."""
    made = tmp_path / 'site' / 'mmcv'
    made.mkdir(parents=True)
    (made / '__init__.py').touch()
    monkeypatch.syspath_prepend(made.parent)
    return made


def test_it_says_what_is_there(run_command, folder):
    assert run_command('compat', 'status').out.startswith(f'{folder} has no operators: ')
    assert run_command('compat', 'install').out.startswith(
        f'{folder / "_ext.py"}: written; mmcv now uses the operators of'
    )
    assert run_command('compat', 'status').out.startswith(
        f'{folder / "_ext.py"} is installed: mmcv uses the operators of'
    )
    (folder / '_ext.py').write_text((folder / '_ext.py').read_text() + '# edited\n')
    assert 'written by another release of mmcnn; mmcnn compat install updates' in run_command('compat', 'status').out
    assert run_command('compat', 'remove').out == f'{folder / "_ext.py"}: deleted\n'
    assert run_command('compat', 'remove').out == "mmcv's folder has no file of mmcnn\n"
    assert run_command('compat', 'status').code == 0


def test_a_compiled_mmcv(run_command, folder):
    extension = folder / f'_ext{EXTENSION_SUFFIXES[0]}'
    extension.touch()
    assert run_command('compat', 'status').out.startswith(f'{folder} has compiled operators, {extension.name}: there')
    with pytest.raises(UsageError, match='has its own operators'):
        run_command('compat', 'install')


def test_loads_nothing_heavy(loaded_by):
    loaded = loaded_by('compat', 'status')
    assert 'mmcnn' in loaded and not loaded & {'torch', 'mmengine', 'mmcv', 'mmdet', 'numpy', 'cv2'}
