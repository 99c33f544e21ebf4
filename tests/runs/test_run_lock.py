"""Two processes cannot use the same folder, and a killed one does not keep it locked."""

import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from mmcnn.errors import CheckpointError, UsageError
from mmcnn.runs.run_lock import LOCK, RunLock, refuse_live

HOLD = """
import os, sys, time
from pathlib import Path
from mmcnn.runs.run_lock import RunLock
lock = RunLock(Path(sys.argv[1]))
lock.acquire()
if sys.argv[2] == 'alone' or not os.fork():
    print(os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def hold(tmp_path):
    """``hold()`` starts another process that locks ``tmp_path``; returns it and its id, or that of its child."""
    processes = []

    def start(kind='alone'):
        process = subprocess.Popen([sys.executable, '-c', HOLD, tmp_path, kind], stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_the_second_is_told_of_the_first(hold, tmp_path):
    process, _ = hold()
    who = rf'process {process.pid} on {re.escape(socket.gethostname())}, started \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d'
    refusal = rf'^a run is active in {tmp_path} \({who}.*\): wait until it has ended, or choose another --work-dir; '
    with pytest.raises(UsageError, match=refusal):
        refuse_live(tmp_path)
    with pytest.raises(UsageError, match=refusal):
        RunLock(tmp_path).acquire()


@pytest.mark.parametrize('kind', ['alone', 'fork'])
def test_a_killed_run_leaves_no_lock_behind(hold, tmp_path, kind):
    """Its data-loading processes, which live on for a while, do not keep it either."""
    process, child = hold(kind)
    process.kill()
    process.wait()
    try:
        assert (tmp_path / LOCK).is_file()
        refuse_live(tmp_path)
        lock = RunLock(tmp_path)
        assert lock.acquire() is None
        lock.release()
        if kind == 'fork':
            os.kill(child, 0)  # it is still alive
    finally:
        if kind == 'fork':
            os.kill(child, signal.SIGKILL)


def test_it_is_released_for_the_next_run_of_the_process(tmp_path):
    for _ in range(2):
        lock = RunLock(tmp_path)
        lock.acquire()
        with pytest.raises(UsageError, match=f'process {os.getpid()} on'):
            RunLock(tmp_path).acquire()
        lock.release()
        lock.release()  # has no effect
        assert not (tmp_path / LOCK).exists()
        refuse_live(tmp_path)


def test_whoever_only_asks_keeps_nobody_away(tmp_path, monkeypatch):
    (tmp_path / LOCK).touch()
    with (tmp_path / LOCK).open() as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        monkeypatch.setattr('time.sleep', lambda seconds: fcntl.flock(asking, fcntl.LOCK_UN))
        lock = RunLock(tmp_path)
        assert lock.acquire() is None
        lock.release()


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    def flock(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, 'flock', flock)
    lock = RunLock(tmp_path)
    assert 'file system without locks' in lock.acquire()
    refuse_live(tmp_path)
    lock.release()
    assert [*tmp_path.iterdir()] == []


def test_a_folder_that_is_gone_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match=r'cannot write to .*nowhere: No such file or directory'):
        RunLock(tmp_path / 'nowhere').acquire()
