"""Three processes connected by gloo; one of them ends in every possible way."""

import os
import signal
import sys
import time
import traceback

import pytest
import torch

from mmcnn.engine import rank_watch
from mmcnn.engine.rank_watch import RankWatch
from mmcnn.engine.stop_signals import StopSignals

RANKS = 3
DEATH = 'has died: it was killed, most often because memory was full, or its machine is gone'


def run(tmp_path, work):
    """Run ``work(rank, watch)`` in each rank; return the exit codes and the last line on stderr of each rank."""
    pids = []
    for rank in range(RANKS):
        pid = os.fork()
        if not pid:
            code = 98
            try:
                with open(tmp_path / f'{rank}.txt', 'w') as output:
                    os.dup2(output.fileno(), 2)
                torch.set_num_threads(1)
                os.environ['MASTER_ADDR'] = '127.0.0.1'
                meeting = f'file://{tmp_path}/meeting'
                torch.distributed.init_process_group('gloo', init_method=meeting, rank=rank, world_size=RANKS)
                watch = RankWatch()
                watch.signals = StopSignals(patience=60, before_end=watch.say_stopped)
                with watch.signals, watch:
                    torch.distributed.barrier()
                    work(rank, watch)
                code = 0
            except SystemExit as end:
                code = end.code
            except ValueError:
                code = 3
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        pids.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    said = [(tmp_path / f'{rank}.txt').read_text() for rank in range(RANKS)]
    assert 98 not in codes, said
    return codes, [text.splitlines()[-1:] for text in said]


@pytest.mark.parametrize('dying', [0, 2])
def test_a_killed_rank_ends_the_others_with_the_cause(tmp_path, dying):
    def work(rank, watch):
        if rank == dying:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)  # simulates a hanging collective

    start = time.monotonic()
    codes, said = run(tmp_path, work)
    assert time.monotonic() - start < 15
    for rank in range(RANKS):
        if rank == dying:
            assert codes[rank] == -signal.SIGKILL
        else:
            assert codes[rank] == 1
            assert said[rank] == [f'error: rank {dying} {DEATH}; rank {rank} ends with it']


def test_a_child_that_outlives_its_rank_hides_nothing(tmp_path):
    def work(rank, watch):
        if rank == 1:
            if not os.fork():  # simulates a data-loading process
                time.sleep(8)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    start = time.monotonic()
    codes, _ = run(tmp_path, work)
    assert codes == [1, -signal.SIGKILL, 1]
    assert time.monotonic() - start < 7


@pytest.mark.slow
def test_an_end_by_an_error_is_told_too(tmp_path):
    def work(rank, watch):
        if rank == 1:
            raise ValueError
        if rank == 2:  # it is about to raise its own error
            os._exit(5 if 'rank 1 has ended with an error' in watch.wait_for_cause(10) else 6)
        time.sleep(60)

    codes, said = run(tmp_path, work)
    assert codes == [1, 3, 5]
    assert said[0] == ['error: rank 1 has ended with an error; rank 0 ends with it']


def test_a_stop_is_passed_on(tmp_path):
    def work(rank, watch):
        if rank == 1:
            raise SystemExit(143)
        while not watch.signals.asked():
            time.sleep(0.05)
        raise SystemExit(143 if 'rank 1 was stopped by a signal' in watch.cause else 6)

    assert run(tmp_path, work)[0] == [143, 143, 143]


def test_a_rank_that_hangs_after_a_signal_was_not_killed(tmp_path):
    def work(rank, watch):
        if rank == 1:
            watch.signals.patience = 0.3
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        while not watch.signals.asked():
            time.sleep(0.05)
        raise SystemExit(143 if 'rank 1 was stopped by a signal' in watch.cause else 6)

    assert run(tmp_path, work)[0] == [143, 143, 143]


def test_an_end_in_peace_and_a_slow_rank_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_watch, 'GRACE', 0.2)

    def work(rank, watch):
        if rank == 1:
            os.kill(os.getpid(), signal.SIGSTOP)  # simulates a machine that swaps; wake() continues it
        time.sleep([1.5, 0, 0.1][rank])

    def wake(rank, watch):
        if rank == 2:
            time.sleep(1)
            os.killpg(0, signal.SIGCONT)
        work(rank, watch)

    codes, said = run(tmp_path, wake)
    assert (codes, said) == ([0, 0, 0], [[], [], []])


def test_one_process_has_no_watch():
    with RankWatch() as watch:
        assert watch.wait_for_cause(5) is None
