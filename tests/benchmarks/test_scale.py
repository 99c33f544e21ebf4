"""Many processes on one machine, in small."""

import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmcnn.benchmarks import rank, scale
from mmcnn.benchmarks.coco_data import write_folder
from mmcnn.benchmarks.options import ScaleOptions
from mmcnn.benchmarks.process_memory import family, memory_of, proportional_set_size
from mmcnn.errors import MmcnnError

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')


def test_memory_of_this_process():
    before = proportional_set_size(os.getpid())
    block = mmap.mmap(-1, 50_000_000)  # not from the heap, which may have enough free memory
    block.write(b'x' * len(block))
    grown = proportional_set_size(os.getpid()) - before
    assert 45e6 < grown < 110e6
    memory = memory_of(os.getpid())
    assert memory['Private_Dirty'] < memory['Pss'] <= memory['Rss']


def test_a_family_are_the_processes_that_were_started():
    with subprocess.Popen(['sleep', '60']) as child:
        try:
            assert {*family(os.getpid())} >= {os.getpid(), child.pid} and family(child.pid) == [child.pid]
        finally:
            child.kill()


@pytest.mark.slow
def test_data_loading_processes_share_the_annotations(tmp_path):
    root = write_folder(tmp_path / 'coco', 2000, 60_000)
    found = {ranks: scale.loading(scale.KINDS[scale.OURS], root, ranks, workers=2) for ranks in (1, 2)}
    for each in found.values():
        assert 0 < each['started'] < each['first'] and each['read'] > 0
        assert 1 < each['own'] < 60 < each['peak'] < each['memory'] + 200
    # A second rank adds at least what is its own, and less than another process without shared libraries.
    assert 1.2 < found[2]['memory'] / found[1]['memory'] < 2


@pytest.mark.slow
def test_messages_of_ranks_are_measured():
    small, large = (scale.exchanging(world=3, repeats=5, numbers=n) for n in (2, 20_000_000))
    assert 0 < small < large / 10


@pytest.mark.slow
def test_a_rank_that_fails_ends_the_others(tmp_path):
    with pytest.raises(MmcnnError, match=r'rank load NoSuchDataset .* ended without a result \(exit code 1\)'):
        scale.loading('NoSuchDataset', write_folder(tmp_path / 'coco', 5, 10), 2, workers=1)


def test_a_rank_that_dies_before_the_others_meet_ends_them(monkeypatch):
    def last_one_dies(folder, number, *_):
        if number == 2:
            os._exit(3)
        time.sleep(60)

    monkeypatch.setattr(rank, '_rank', last_one_dies)
    start = time.monotonic()
    with pytest.raises(SystemExit, match='a rank ended with exit code 3'):
        rank.exchange('', world=3, repeats=1, numbers=1)
    assert time.monotonic() - start < 30


def test_children_of_a_rank_end_with_it():
    child = 'import subprocess; print(subprocess.Popen(["sleep", "60"]).pid, flush=True); input()'
    with pytest.raises(KeyError, match='stop'), scale._started([[sys.executable, '-c', child]]) as processes:
        started = int(processes[0].stdout.readline())
        raise KeyError('stop')
    deadline = time.monotonic() + 30
    while _state(started) != 'Z':
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _state(pid):
    """Return the state of a process; Z: it has ended."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except FileNotFoundError:
        return 'Z'


@pytest.mark.slow
def test_both_sides_and_all_rows_are_reported():
    said = []
    options = ScaleOptions(annotated=300, ranks=2, workers=1, world=2, runs=1)
    found = {each.row: each for each in scale.measure(options, said.append)}
    of_one = [row for row in found if row.startswith('1 rank, 1 workers: ')]
    assert len(of_one) == 6 and all(found[row].ratio('mmcnn').median > 0 for row in of_one)
    assert [*found['2 ranks, 1 workers: memory'].figures] == ['mmcnn']
    assert found['2 ranks'].best_peer == 'gradients' and found['2 ranks'].ratio('message of a step').median < 1
    assert said[1].startswith('yolov5_n has 1,8') and 'MB' in said[1]
