"""--import MODULE: all commands that read a config or checkpoint have it, and import the module first."""

import sys

import pytest

from mmcnn.cli import main
from mmcnn.compare import trainings
from mmcnn.errors import UsageError
from mmcnn.runs.options import ImportOptions, described
from mmcnn.weights import own_modules

COMMANDS = (
    'train', 'test', 'infer', 'export', 'compare', 'benchmark step', 'benchmark loading', 'benchmark export',
    'anchors', 'check-data', 'convert', 'zoo', 'report',
)  # fmt: skip


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The name of a module that raises an error when it is imported."""
    name = f'own_module_{tmp_path.name}'
    (tmp_path / f'{name}.py').write_text('raise RuntimeError("it was imported")\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(own_modules, '_TRUSTED', set())
    yield name
    sys.modules.pop(name, None)


@pytest.mark.parametrize('command', COMMANDS)
def test_it_is_offered(command, capsys):
    with pytest.raises(SystemExit):
        main.main([*command.split(), '--help'])
    assert '--import MODULE' in capsys.readouterr().out and [*described(ImportOptions)] == ['imports']


@pytest.mark.parametrize(
    'arguments',
    [
        ['compare', 'none.py', '--backbone', 'vgg11'],
        ['benchmark', 'step', '--config', 'none.py'],
        ['benchmark', 'loading', '--config', 'none.py'],
        ['benchmark', 'export', 'none.py'],
        ['anchors', '--config', 'none.py'],
        ['check_data', 'none', '--config', 'none.py'],
        ['convert', 'none.pth', 'out.pth', '--model', 'none.py'],
        ['zoo', 'matrix'],
        ['zoo', 'matrix', '--detectors', 'mmdet'],
        ['zoo', 'show', 'none'],
        ['zoo', '--img-size', '64'],
    ],
    ids=' '.join,
)
def test_it_is_imported_before_anything_is_read(own, arguments, run_command):
    with pytest.raises(UsageError, match=rf"import='{own}': the import failed: RuntimeError: it was imported"):
        run_command(*arguments, '--import', own)


def test_a_table_that_is_stored_has_none_of_it(run_command):
    with pytest.raises(UsageError, match=r'^--import: the stored table .* with --img-size N, yours is counted, too$'):
        run_command('zoo', '--import', 'x')
    with pytest.raises(UsageError, match=r'^--import cannot be combined with costs$'):
        run_command('zoo', 'costs', '--import', 'x')


def test_trainings_of_a_comparison_get_it():
    assert trainings.typed(dict(imports=['a', 'b.c'])) == ['--import', 'a', '--import', 'b.c']
