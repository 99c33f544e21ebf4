"""The user's own modules: importing them on request, and the errors for those that cannot be imported."""

import sys

import pytest
from mmengine.config import Config

from mmcnn.errors import UsageError
from mmcnn.weights import own_modules
from mmcnn.weights.own_modules import import_modules, is_trusted, record_imports, recorded_imports


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module with this text into the current folder, which is not on the path, and return its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', [each for each in sys.path if each])
    monkeypatch.setattr(own_modules, '_TRUSTED', set())

    def write(text):
        name = f'mine_{abs(hash((tmp_path, text)))}'
        (tmp_path / f'{name}.py').write_text(text)
        return name

    return write


def test_the_current_folder_is_searched(module, tmp_path):
    name = module('x = 1\n')
    import_modules([name])
    assert sys.modules[name].x == 1 and sys.path[-1] == str(tmp_path)
    assert is_trusted(name) and is_trusted(f'{name}.Net') and not is_trusted(f'{name}s')


def test_dependencies_do_not_become_trusted(module):
    import_modules(['mmdet.models', 'torch.nn'])
    assert not is_trusted('mmdet.models') and not is_trusted('torch')


def test_nothing_to_import(module):
    before = sys.path[:]
    import_modules(None)
    import_modules([])
    assert sys.path == before


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('raise RuntimeError("no licence")', 'the import failed: RuntimeError: no licence'),
        ('import nowhere_at_all', "the import failed: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ('x = (', 'the import failed: SyntaxError: '),
    ],
)
def test_a_module_that_fails(text, words, module):
    name = module(text)
    with pytest.raises(UsageError, match=f"^import='{name}': {words}"):
        import_modules([name])
    assert not is_trusted(name)


def test_names_that_are_none(module):
    with pytest.raises(UsageError, match=r"import='nowhere\.nets': there is no module 'nowhere'; install its package"):
        import_modules(['nowhere.nets'])
    for name in ('nets.py/', 'a b', '', '../nets'):
        with pytest.raises(UsageError, match='it must be the name of a module'):
            import_modules([name])


@pytest.mark.parametrize(
    ('text', 'names'),
    [
        ("custom_imports = dict(imports=['mmcnn', 'a.b'], allow_failed_imports=False)", ('a.b',)),
        ("custom_imports = dict(imports='a')", ('a',)),
        ("custom_imports = dict(imports=['mmcnn', 3])", ()),
        ("custom_imports = dict(imports=[__import__('os').name])", ()),
        ('x = (', ()),
        ('x = 1', ()),
        ('custom_imports = 3', ()),
    ],
)
def test_what_a_run_had_imported(text, names):
    assert recorded_imports(text) == names


def test_what_is_written_down():
    cfg = Config(dict(custom_imports=dict(imports='mmcnn', allow_failed_imports=False)))
    record_imports(cfg, None)
    assert cfg.custom_imports.imports == 'mmcnn'
    record_imports(cfg, ['a', 'mmcnn', 'a'])
    assert cfg.custom_imports == dict(imports=['mmcnn', 'a'], allow_failed_imports=False)
    record_imports(cfg := Config(), ['a'])
    assert cfg.custom_imports.imports == ['a']
