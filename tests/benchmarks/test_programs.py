import os
import signal
import sys
import time
from pathlib import Path

import pytest

from mmcnn.benchmarks.programs import Program, named_command, other_programs, rate_of_marks
from mmcnn.errors import UsageError

#: Prints an epoch, then works for a while; the end of a line appears twice, as with a progress bar.
TRAINING = """
import sys, time
for epoch in range(1, 9):
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    sys.stdout.write(f'step 1/2\\rstep 2/2 epoch {epoch}\\rstep 2/2 epoch {epoch}\\n')
    sys.stdout.flush()
"""


def program(folder, code=TRAINING):
    return Program('other', [sys.executable, '-c', code], r'epoch \d+', folder)


def program_of_pattern(folder, text):
    return Program('other', ['true'], text, folder)


def test_laps_end_at_new_marks(tmp_path):
    with program(tmp_path) as run:
        laps = [run.lap() for _ in range(4)]
    assert all(lap > 0 for lap in laps)


def test_a_lap_that_ended_between_turns_is_no_turn(tmp_path):
    """This happens if the next lap is so short that it ends before the program is stopped."""
    with program(tmp_path) as run:
        run.lap()
        run._ends.put(0.0)
        assert run.lap() > 0.01


def test_it_stands_still_when_it_is_not_its_turn(tmp_path):
    code = (
        'import time\nfor i in range(10**9):\n'
        "    open('count', 'w').write(str(i)); print('epoch', i, flush=True); time.sleep(0.01)"
    )
    with program(tmp_path, code) as run:
        time.sleep(0.2)
        assert not (tmp_path / 'count').exists()  # it has not started
        run.lap()
        time.sleep(0.05)
        before = (tmp_path / 'count').read_text()
        time.sleep(0.2)
        assert (tmp_path / 'count').read_text() == before
        run.lap()
    assert run._process.returncode == -signal.SIGTERM


def test_what_it_has_started_ends_with_it(tmp_path):
    code = (
        'import subprocess, sys, time\n'
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open('pid', 'w').write(str(child.pid)); print('epoch 1', flush=True); time.sleep(60)"
    )
    with program(tmp_path, code) as run:
        run.lap()
        child = int((tmp_path / 'pid').read_text())
        os.kill(child, 0)
    deadline = time.monotonic() + 5
    while _lives(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_one_that_ends_too_early_is_an_error_with_its_last_words(tmp_path):
    with program(tmp_path, "print('epoch 1'); print('out of memory'); raise SystemExit(3)") as run:
        run.lap()
        with pytest.raises(UsageError, match=r'other: the program ended with exit code 3 .* epoch \\d\+') as error:
            run.lap()
    assert str(error.value).endswith('epoch 1\nout of memory')


def test_what_cannot_be_run_is_an_error(tmp_path):
    with pytest.raises(UsageError, match='other: /no/such/python cannot be run: No such file or directory'):
        Program('other', ['/no/such/python'], 'epoch', tmp_path)


def _lives(process):
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f'/proc/{process}/stat').read_text().rpartition(') ')[2][0] != 'Z'
    except OSError:
        return False


def test_a_peer_is_a_name_and_a_command():
    assert named_command("other=/a/python t.py --x 'a b'") == ('other', ['/a/python', 't.py', '--x', 'a b'])


@pytest.mark.parametrize('text', ['other', '=python', 'other=', "other=python 'a"])
def test_any_other_peer_is_refused(text):
    with pytest.raises(UsageError, match='--peer'):
        named_command(text)


#: Starts slowly, then takes a tenth of a second for each of four images.
DETECTING = """
import time
time.sleep(2)
for image in range(5):
    print(f'image {image}: 2 boxes', f'image {image}', flush=True)
    time.sleep(0.1)
"""


def test_the_start_of_a_program_is_no_part_of_its_rate(tmp_path):
    rate = rate_of_marks('other', [sys.executable, '-c', DETECTING], r'image \d+', tmp_path)
    assert 4 < rate < 10.5


@pytest.mark.parametrize(
    ('command', 'message'),
    [
        ([sys.executable, '-c', 'print("image 1"); raise SystemExit(3)'], 'exit code 3 and has reported 1 images'),
        ([sys.executable, '-c', 'print("nothing")'], r'exit code 0 and has reported 0 images .*\nnothing'),
        (['/no/such/program'], 'other: /no/such/program cannot be run: No such file'),
    ],
)
def test_programs_that_fail_say_why(tmp_path, command, message):
    with pytest.raises(UsageError, match=message):
        rate_of_marks('other', command, r'image \d+', tmp_path)


def test_output_that_python_would_keep_back_is_seen_at_once(tmp_path, monkeypatch):
    monkeypatch.delenv('PYTHONUNBUFFERED', raising=False)
    code = DETECTING.replace(', flush=True', '')
    assert 4 < rate_of_marks('other', [sys.executable, '-c', code], r'image \d+', tmp_path) < 10.5


@pytest.mark.parametrize('start', [program_of_pattern, lambda folder, text: rate_of_marks('x', ['true'], text, folder)])
def test_a_broken_pattern_is_refused_before_anything_runs(tmp_path, start):
    with pytest.raises(UsageError, match=r"'image \(' is no regular expression"):
        start(tmp_path, 'image (')


@pytest.mark.parametrize('texts', [['a=true', 'a=false'], ['mmcnn=true']])
def test_each_side_has_a_name_of_its_own(texts):
    with pytest.raises(UsageError, match=r'there is already a side called (a|mmcnn)'):
        other_programs(texts, ['mmcnn'])
    assert other_programs(None, ['mmcnn']) == {} and other_programs(['b=true 1'], []) == {'b': ['true', '1']}
