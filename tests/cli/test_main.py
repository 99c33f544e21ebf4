"""The command mmcnn: its subcommands, their help, and the tools that share its code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mmcnn
from mmcnn.cli.main import ALIASES, COMMANDS, main


def ended(capsys, *argv):
    """Return the exit code and the output of a command that exits."""
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


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        (('train', 'yolov5_n', '--batch_size', '4'), '--batch_size 4; did you mean --batch-size?'),
        (('infer', 'a', 'b', '--score_thr=0.5'), '--score_thr=0.5; did you mean --score-thr?'),
        (('train', 'yolov5_n', '--zzz', '1'), '--zzz 1'),
        (('train', 'yolov5_n', 'more'), 'more'),
    ],
)
def test_an_unknown_option_is_an_error_with_the_similar_one(argv, message, capsys):
    code, _, err = ended(capsys, *argv)
    assert code == 2
    assert err == f'error: unrecognized arguments: {message}\nmmcnn {argv[0]} --help describes the options\n'


def test_so_is_one_of_a_benchmark(capsys):
    code, _, err = ended(capsys, 'benchmark', 'backbone', 'vgg16', '--compield')
    assert code == 2
    assert err == (
        'error: unrecognized arguments: --compield; did you mean --compiled?\n'
        'mmcnn benchmark backbone --help describes the options\n'
    )


def test_tools_are_short_and_the_same_code():
    names = set()
    for path in (Path(__file__).resolve().parents[2] / 'tools').glob('*.py'):
        text = path.read_text()
        # Separate programs for developers of mmcnn.
        if path.name in (
            'docs_extension.py',
            'fuse_parts.py',
            'gpu_check.py',
            'memory_slope.py',
            'short_runs.py',
            'try_versions.py',
        ):
            continue
        assert len(text.splitlines()) <= 40
        names.add(text.split("main(['")[1].split("'")[0])
    assert names == set(COMMANDS) - {'configs', 'env', 'run', 'compat', 'report', 'sets'}


@pytest.mark.parametrize(
    ('line', 'expected'),
    [
        ('mmcnn ', {'train', 'check-data', 'zoo', '--version'}),
        ('mmcnn train yolov5_n', {'yolov5_n', 'yolov5_n_small'}),
        ('mmcnn train yolov5_n --ba', {'--backbone', '--backbone-weights', '--batch-size'}),
        ('mmcnn train yolov5_n --on-nan ', {'stop', 'skip'}),
    ],
)
def test_shells_complete(line, expected, tmp_path):
    found = tmp_path / 'found'
    question = dict(
        _ARGCOMPLETE='1', _ARGCOMPLETE_IFS='\n', _ARGCOMPLETE_COMP_WORDBREAKS=' ', COMP_TYPE='9', COMP_LINE=line,
        COMP_POINT=str(len(line)), _ARGCOMPLETE_STDOUT_FILENAME=str(found),
    )  # fmt: skip
    root = str(Path(mmcnn.__file__).resolve().parents[1])
    subprocess.run(
        [sys.executable, '-m', 'mmcnn'], env=os.environ | question | dict(PYTHONPATH=root), cwd=tmp_path, check=True
    )
    offered = {word.strip() for word in found.read_text().split('\n')}
    assert expected <= offered
    assert line.endswith('mmcnn ') or offered == expected
