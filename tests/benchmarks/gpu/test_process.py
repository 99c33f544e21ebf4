import contextlib
import dataclasses
import multiprocessing
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from mmcnn.benchmarks.gpu import process
from mmcnn.benchmarks.gpu.measurement import Circumstances, Measurement
from mmcnn.runs import process_state

HERE = Circumstances(device='cpu', tiny=True, folder='f', classes_folder='', workers=3)


def fine(circumstances, timer, report, *, times):
    report(pid=os.getpid(), variable=os.environ.get('GPU_CHECK'), workers=circumstances.workers)
    for number in range(times):
        report(**{f'value {number}': timer.seconds})


def failing(circumstances, timer, report):
    report(before=1)
    raise ZeroDivisionError('by nothing\nand more')


def dying(circumstances, timer, report):
    report(before=1)
    os.kill(os.getpid(), signal.SIGKILL)


def ending(circumstances, timer, report):
    os._exit(3)


def hanging(circumstances, timer, report):
    child = subprocess.Popen(['sleep', '60'])
    report(pid=os.getpid(), child=child.pid)
    time.sleep(60)


@pytest.fixture(autouse=True)
def forked(monkeypatch):
    """Fork processes, which then have PyTorch already loaded, and skip the cleanup."""
    monkeypatch.setattr(process.multiprocessing, 'get_context', lambda kind: multiprocessing.context.ForkContext())
    monkeypatch.setattr(process_state, 'kept_process_state', contextlib.nullcontext)
    monkeypatch.setattr(process, '_clean', lambda device: device == 'cpu')


@pytest.fixture
def worker(tmp_path):
    made = process.Worker(tmp_path / 'x.log')
    yield made
    made.close()


def run(worker, function, latest=20.0, environment=None, here=HERE, **arguments):
    found = {}
    measurement = Measurement(
        stage='speed', name=function.__name__, function=function, arguments=arguments, environment=environment or {}
    )
    return worker.run(measurement, here, 2.5, latest, lambda **values: found.update(values)), found


def is_alive(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


def test_values_come_and_the_process_is_kept(worker):
    failure, found = run(worker, fine, times=2)
    assert failure is None
    assert (found['workers'], found['variable'], found['value 0'], found['value 1']) == (3, None, 2.5, 2.5)
    again = run(worker, fine, times=0)[1]
    assert again['pid'] == found['pid'] != os.getpid()
    # Environment variables must be set before CUDA starts, so another process is needed.
    other = run(worker, fine, times=0, environment={'GPU_CHECK': 'x'})[1]
    assert other['variable'] == 'x' and other['pid'] != found['pid'] and not is_alive(found['pid'])
    assert 'GPU_CHECK' not in os.environ


def test_a_failure_is_a_sentence_and_the_next_goes_on(worker, tmp_path, capsys):
    with capsys.disabled():  # the process writes its output to its log
        before = run(worker, fine, times=0)[1]['pid']
    failure, found = run(worker, failing)
    assert failure.startswith('ZeroDivisionError: by nothing (') and 'test_process.py:' in failure
    assert found == dict(before=1)
    assert run(worker, fine, times=0)[1]['pid'] == before
    log = (tmp_path / 'x.log').read_text()
    assert '--- speed: failing' in log and 'and more' in log


@pytest.mark.parametrize(
    ('function', 'cause'),
    [(dying, 'its process died of SIGKILL'), (ending, 'its process died with exit code 3')],
)
def test_a_death_is_told_and_the_next_has_a_process_of_its_own(worker, function, cause):
    assert run(worker, function)[0] == cause
    assert run(worker, fine, times=0)[0] is None


def test_a_process_that_cannot_go_on_is_not_used_again(worker):
    broken = dataclasses.replace(HERE, device='cuda')
    first, second = (run(worker, fine, times=0, here=broken) for _ in range(2))
    assert first[0] is second[0] is None and first[1]['pid'] != second[1]['pid']


def test_what_hangs_is_ended_with_all_that_it_started(worker):
    failure, found = run(worker, hanging, latest=0.6)
    assert failure == 'ended after 1 s, since it exceeded its time limit'
    wait_for(lambda: not is_alive(found['child']))
    assert not is_alive(found['pid'])
    assert run(worker, fine, times=0)[0] is None


def test_a_signal_ends_it_at_once(worker):
    found = {}

    def report(**values):
        found.update(values)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        worker.run(Measurement(stage='speed', name='x', function=hanging), HERE, 2.5, 20, report)
    wait_for(lambda: not is_alive(found['child']))


def test_a_killed_check_leaves_nothing(tmp_path):
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        worker = process.Worker(tmp_path / 'x.log')
        measurement = Measurement(stage='speed', name='x', function=hanging)
        worker.run(
            measurement, HERE, 60, 60, lambda **found: os.write(writer, f'{found["pid"]} {found["child"]}'.encode())
        )
        os._exit(0)
    pids = [int(each) for each in os.read(reader, 100).split()]
    assert all(map(is_alive, pids))
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    wait_for(lambda: not any(map(is_alive, pids)))


def wait_for(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
