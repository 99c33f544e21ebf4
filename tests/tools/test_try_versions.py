import json
import runpy
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest

TOOL = Path(__file__).parents[2] / 'tools' / 'try_versions.py'


@pytest.fixture
def tool():
    return SimpleNamespace(**runpy.run_path(str(TOOL)))


def names(wanted):
    return dict(line.partition('==')[::2] for line in wanted)


def test_a_row_changes_what_it_names_and_nothing_else(tool):
    pinned = names(tool.pins({}))
    assert len(pinned) > 100 and pinned['torch'] and all(pinned.values())
    changed = names(tool.pins({'numpy': '1.26.4', 'scipy': '', 'mmdet': None, 'onedl-mmdetection': '3.5.1'}))
    assert (changed['numpy'], changed['scipy'], changed['onedl-mmdetection']) == ('1.26.4', '', '3.5.1')
    assert {name for name, version in changed.items() if pinned.get(name) != version} == {
        'numpy',
        'scipy',
        'onedl-mmdetection',
    }
    assert pinned.keys() - changed.keys() == {'mmdet'}


def test_rows_change_packages_that_are_pinned(tool):
    pinned = names(tool.pins({}))
    for row, changes in tool.ROWS.items():
        assert row == 'onedl fork' or changes.keys() - {'python'} <= pinned.keys()


def test_a_row_names_its_interpreter(tool, tmp_path):
    tool.ROWS['3.12']['python'] = '3.99'
    result = tool.run('3.12', Namespace(folder=tmp_path, tests=[]))
    assert (result.python, result.outcome) == ('3.99', 'not run: python3.99 is not installed')
    assert 'python' not in names(tool.pins(tool.ROWS['3.12']))


def test_what_pytest_counts_is_read_and_printed(tool, tmp_path):
    """Run three tests in this environment instead of a new one."""
    (tmp_path / 'test_three.py').write_text(
        'import pytest\n'
        'def test_good(): pass\n'
        'def test_bad(): assert 0\n'
        'def test_absent(): pytest.skip()\n'
    )  # fmt: skip
    result = tool.Result('numpy 1.26', '2026-11-27', '3.11.7', 'run', dict(torch='2.13.0'), ['three'])
    args = Namespace(jobs=0, tests=[str(tmp_path / 'test_three.py')], timeout=60)
    tool.run_tests(Path(sys.executable), tmp_path, result, args)
    assert (result.passed, result.skipped, len(result.failed)) == (1, 1, 1)
    assert result.failed[0].endswith('test_three::test_bad')
    assert tool.table({'numpy 1.26': result}).splitlines()[-1] == (
        '| numpy 1.26 | 3.11.7 | torch 2.13.0 | 1 passed, 1 skipped, 1 failed of three | 2026-11-27 |'
    )


def test_results_are_kept_and_rows_that_have_one_are_not_tried_again(tool, tmp_path, capsys):
    every = [*tool.ROWS, *tool.PYTHONS]
    kept = [dict(row=name, date='2026-11-27', python='3.11.7', outcome='not installed: ERROR') for name in every]
    (tmp_path / 'results.json').write_text(json.dumps(kept))
    assert tool.main([str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(' | ')[0].strip('| ') for line in lines[2:]] == every


def test_an_interpreter_that_does_not_start_is_not_used(tool):
    assert tool._works(sys.executable)
    assert not tool._works('python3.99')
