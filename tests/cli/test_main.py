"""The command mmcnn: its commands, their help, and the tools that are the same code."""

from pathlib import Path

import pytest

import mmcnn
from mmcnn.cli.main import ALIASES, COMMANDS, main


def ended(capsys, *argv):
    """Exit code, and what a command printed that ended by itself."""
    with pytest.raises(SystemExit) as end:
        main(list(argv))
    printed = capsys.readouterr()
    return end.value.code, printed.out, printed.err


@pytest.mark.parametrize('name', [*COMMANDS, *ALIASES])
def test_help_of_every_command(name, capsys):
    code, out, _ = ended(capsys, name, '--help')
    assert code == 0
    assert out.startswith(f'usage: mmcnn {ALIASES.get(name, name)} ')
    assert 'tools/' not in out and '.py ' not in out
    assert all(len(line) < 125 for line in out.splitlines())


@pytest.mark.parametrize('argv', [[], ['-h'], ['--help']])
def test_help_lists_the_commands(argv, capsys):
    code, out, _ = ended(capsys, *argv)
    assert code == 0
    for name, (_, text) in COMMANDS.items():
        assert f'  {name} ' in out and text in out


def test_version(capsys):
    assert ended(capsys, '--version') == (0, f'mmcnn {mmcnn.__version__}\n', '')


def test_an_unknown_command_is_an_error(capsys):
    code, out, err = ended(capsys, 'trian')
    assert (code, out) == (2, '')
    assert err.startswith("error: there is no command 'trian'; did you mean train")


def test_a_missing_argument_is_an_error(capsys):
    code, _, err = ended(capsys, 'train')
    assert code == 2
    assert err == 'error: the following arguments are required: CONFIG\nmmcnn train --help describes the options\n'


def test_tools_are_short_and_the_same_code():
    names = set()
    for path in (Path(__file__).resolve().parents[2] / 'tools').glob('*.py'):
        text = path.read_text()
        assert len(text.splitlines()) <= 40
        names.add(text.split("main(['")[1].split("'")[0])
    assert names == set(COMMANDS) - {'configs', 'env'}
