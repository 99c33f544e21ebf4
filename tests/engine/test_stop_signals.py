import os
import signal
import threading
import time

import pytest

from mmcnn.engine import stop_signals
from mmcnn.engine.stop_signals import StopSignals


def in_a_fork(work):
    """Run a function in a forked process; return its exit code and seconds."""
    start = time.monotonic()
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), time.monotonic() - start


@pytest.mark.parametrize('signum', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_and_the_handlers_come_back(signum):
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with StopSignals(patience=60) as signals:
        assert not signals.asked()
        os.kill(os.getpid(), signum)
        assert signals.asked() and signals.signum == signum
        os.kill(os.getpid(), signal.SIGTERM)  # a launcher may repeat it
        assert signals.signum == signum
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before
    assert 'mmcnn-stop-signals' not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize(('signum', 'code'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_process_that_hangs_is_ended(signum, code):
    def hang():
        # The main thread no longer runs Python code, so Python's handler would never be called.
        with StopSignals(patience=0.3):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signum})
            threading.Timer(0.1, lambda: os.kill(os.getpid(), signum)).start()
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()

    # The kernel delivers the signal to a thread that does not block it.
    found, seconds = in_a_fork(hang)
    assert found == code
    assert seconds < 10


@pytest.mark.slow
def test_a_process_that_comes_round_or_writes_is_left_alone():
    def work():
        with StopSignals(patience=0.4) as signals:
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(12):
                time.sleep(0.1)
                signals.asked()
            with signals.busy():
                time.sleep(1.2)
            os._exit(7)

    assert in_a_fork(work)[0] == 7


def test_a_second_ctrl_c_ends_at_once_unless_it_is_the_same(monkeypatch):
    def work(wait):
        monkeypatch.setattr(stop_signals, '_SECOND_AFTER', 0.3)
        with StopSignals(patience=60):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(wait)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
            os._exit(7)

    assert in_a_fork(lambda: work(0.0))[0] == 7
    assert in_a_fork(lambda: work(0.5))[0] == 130


def test_another_thread_changes_nothing():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work():
        with StopSignals(patience=1) as signals:
            seen.append((signals.asked(), signal.getsignal(signal.SIGTERM) is before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, True)]


def test_a_process_that_a_metric_starts_can_be_ended():
    with StopSignals(patience=0.2) as signals:
        ready, started = os.pipe()
        pid = os.fork()
        if not pid:
            os.write(started, b'1')
            time.sleep(30)
            os._exit(99)
        os.read(ready, 1)
        os.kill(pid, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
        time.sleep(1.0)  # longer than the watchdog's patience
        assert not signals.asked()
