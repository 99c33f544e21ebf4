"""Console output on a real pseudo-terminal, in a pipe, and when standard output is captured."""

import errno
import io
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmcnn.console import Console
from mmcnn.launchers import VARIABLES

ROOT = Path(__file__).parents[2]
#: Prints a head, progress, a table, and warnings of its own, of forked processes and of Python; then ends or fails.
PROGRAM = r"""
import os, sys, warnings
from mmcnn.console import Console

console = Console()
reader, writer = os.pipe()
if not os.fork():
    os.read(reader, 1)
    console.warning('of a process that is older than the live line')
    os._exit(0)
console.head([('model', 'yolov4 [bold]x[/bold] :smile:'), ('log', 'a.log')], ['warning: no boxes\nin 3 images'])
with console.run():
    for step in range(1, 6):
        console.progress(f'step {step}/5  loss 0.{step}  ' + 'and so on ' * 20, due=step == 3)
        if step == 2:
            console.warning('a\tfile \x1b[31m of ours')
            warnings.showwarning = lambda message, *args: print(message, file=sys.stderr)
            warnings.warn('a warning of Python')
            print('a line of print')
        if step == 4 and not os.fork():
            console.warning('the file of a data-loading process')
            os._exit(0)
        if step == 4:
            os.wait()
            os.write(writer, b'x')
            os.wait()
    console.table('epoch 1', [['AP', 'AP50'], ['all', '0.500', '0.7'], ['a long name', '0.4']])
    if 'fail' in sys.argv:
        raise SystemExit('error: it failed')
console.summary([('files', 'best.pth'), ('', 'last.pth')], [('AP', 0.5), ('AP50', 0.666)])
"""


EXPECTED = [
    'model    yolov4 [bold]x[/bold] :smile:',
    'log      a.log',
    'warning: no boxes',
    'in 3 images',
    'warning: a    file ?[31m of ours',
    'a warning of Python',
    'a line of print',
    'warning: the file of a data-loading process',
    'warning: of a process that is older than the live line',
    'epoch 1         AP  AP50',
    'all          0.500   0.7',
    'a long name    0.4',
]
END = ['files    best.pth', '         last.pth', 'AP = 0.50', 'AP50 = 0.67']


def test_a_terminal_has_one_live_line_below_the_rest(on_terminal, screen, tmp_path):
    (tmp_path / 'program.py').write_text(PROGRAM)
    code, output = on_terminal(tmp_path / 'program.py')
    assert code == 0
    assert [line for line in screen(output) if line] == EXPECTED + END
    # The progress line was shown and erased, and never wrapped.
    frames = re.findall(r'step \d/5[^\r]*', output)
    assert {'step 1/5', 'step 3/5'} <= {frame[:8] for frame in frames}
    assert all(len(frame) <= 60 for frame in frames)
    assert '\x1b[?25l' not in output  # a killed run would leave the cursor hidden


def test_a_run_that_fails_leaves_the_terminal_whole(on_terminal, screen, tmp_path):
    (tmp_path / 'program.py').write_text(PROGRAM)
    code, output = on_terminal(tmp_path / 'program.py', 'fail')
    assert code == 1
    shown = [line for line in screen(output) if line]
    assert shown[-1] == 'error: it failed'
    assert not any('step' in line for line in shown)


@pytest.mark.parametrize('where', ['pipe', 'dumb terminal'])
def test_plain_lines_elsewhere(on_terminal, tmp_path, where):
    (tmp_path / 'program.py').write_text(PROGRAM)
    if where == 'pipe':
        environment = dict(os.environ, PYTHONPATH=str(ROOT), FORCE_COLOR='1', TERM='xterm')
        command = [sys.executable, tmp_path / 'program.py']
        result = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert (result.returncode, result.stderr) == (0, 'a warning of Python\n')
        output = result.stdout + result.stderr
    else:
        code, output = on_terminal(tmp_path / 'program.py', term='dumb')
        assert code == 0
        output = output.replace('\r\n', '\n')
    assert not re.search(r'[\x00-\x09\x0b-\x1f]', output)
    lines = output.splitlines()
    # Progress is printed only when it is due.
    (progress,) = [line for line in lines if line.startswith('step')]
    assert progress.startswith('step 3/5  loss 0.3  and so on and so on')
    assert sorted(line for line in lines if line != progress) == sorted(EXPECTED + END)
    assert lines.index('warning: a    file ?[31m of ours') < lines.index(progress) < lines.index(EXPECTED[-1])


def test_lines_of_a_pipe_come_at_once(tmp_path):
    program = "import time; from mmcnn.console import Console; Console().line('here'); time.sleep(60)"
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    process = subprocess.Popen([sys.executable, '-c', program], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout.readline() == 'here\n'
    finally:
        process.kill()
        process.communicate()


def test_captured_output_is_plain(capsys):
    console = Console()
    console.progress('step 1', due=True)
    console.progress('step 2')
    console.warning('w')
    assert capsys.readouterr() == ('step 1\nwarning: w\n', '')


def test_a_verbose_console_leaves_plain_progress_to_the_log(capsys):
    console = Console(verbose=True)
    console.progress('step 1', due=True)
    console.line('text')
    assert capsys.readouterr().out == 'text\n'


@pytest.mark.parametrize('launcher', VARIABLES)
def test_only_the_first_process_prints(capsys, monkeypatch, launcher):
    for name in itertools.chain.from_iterable(VARIABLES.values()):
        monkeypatch.delenv(name, raising=False)
    variable, size = VARIABLES[launcher]
    monkeypatch.setenv(size, '2')
    for rank in ('0', '1'):
        monkeypatch.setenv(variable, rank)
        console = Console(launcher=launcher)
        console.head([('model', f'of rank {rank}')])
        console.progress(f'step of rank {rank}', due=True)
        console.warning(f'rank {rank}')
    assert capsys.readouterr().out == 'model    of rank 0\nstep of rank 0\nwarning: rank 0\n'
    Console().line('a run of its own')
    assert capsys.readouterr().out == 'a run of its own\n'


def test_a_head_has_14_lines_at_most_and_the_log_all(capsys):
    console, logged = Console(), []
    console.log = logged.append
    notes = [f'warning: number {i}' for i in range(20)]
    console.head([('model', 'm'), ('data', 'd')], notes)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 14
    assert lines[-2:] == ['warning: number 10', '(9 more lines are in the log)']
    assert logged == ['\n'.join(['model    m', 'data     d', *notes])]
    console.head([('model', 'm')], notes[:13])
    assert capsys.readouterr().out.splitlines()[-1] == 'warning: number 12'


def test_the_log_takes_what_is_printed_until_the_run_ends(capsys):
    console, logged = Console(), []
    console.log = logged.append
    with pytest.raises(KeyError), console.run():
        console.line('a')
        console.show('from the log')
        console.progress('step', due=True)
        raise KeyError
    console.line('b')
    assert logged == ['a']
    assert capsys.readouterr().out == 'a\nfrom the log\nstep\nb\n'


@pytest.mark.parametrize('error', [BrokenPipeError(errno.EPIPE, 'closed'), OSError(errno.EIO, 'gone'), ValueError()])
def test_a_run_does_not_end_because_nobody_listens(monkeypatch, error):
    class Closed(io.StringIO):
        def write(self, text):
            raise error

    monkeypatch.setattr(sys, 'stdout', Closed())
    console = Console()
    console.line('a')
    console.progress('b', due=True)
    sys.stdout.close()
    console.line('a')
    console.progress('b', due=True)
    monkeypatch.setattr(sys, 'stdout', None)
    console.progress('b', due=True)


def test_names_that_the_encoding_lacks_are_written_all_the_same(monkeypatch):
    output = io.TextIOWrapper(io.BytesIO(), encoding='ascii')
    monkeypatch.setattr(sys, 'stdout', output)
    Console().line('größe \udce4.jpg')
    assert output.buffer.getvalue() == b'gr\\xf6\\xdfe \\udce4.jpg\n'


def test_nothing_heavy_is_imported():
    """``import mmcnn`` itself is not counted."""
    program = f"""
import sys, types
sys.modules['mmcnn'] = types.ModuleType('mmcnn')
sys.modules['mmcnn'].__path__ = [{str(ROOT / 'mmcnn')!r}]
import mmcnn.console, mmcnn.runs.results
mmcnn.console.Console().line('x')
print({{'torch', 'mmengine', 'numpy', 'rich'}} & set(sys.modules))
"""
    result = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert result.stdout == 'x\nset()\n', result.stderr
