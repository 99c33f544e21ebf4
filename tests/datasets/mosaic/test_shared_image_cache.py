import copy
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from mmcnn.datasets.mosaic import shared_image_cache
from mmcnn.datasets.mosaic.shared_image_cache import SharedImageCache, cache_of_all
from mmcnn.errors import DataError

FORK = multiprocessing.get_context('fork')


def image(value, height=20, width=25):
    return np.full((height, width, 3), value, np.uint8)  # 1,500 bytes


def test_images_come_back_and_the_bound_holds():
    cache = SharedImageCache(5, gigabytes=5e-6)  # 5,000 bytes
    assert cache.get(0) is None
    for index in range(5):
        cache.put(index, image(index))
    assert cache.used == 4500 <= cache.capacity == 5000
    assert [cache.get(index) is not None for index in range(5)] == [True, True, True, False, False]
    assert all((cache.get(index) == image(index)).all() for index in range(3))
    cache.put(4, image(44, 6, 25))  # 450 bytes still fit
    assert (cache.get(4) == image(44, 6, 25)).all() and cache.used == 4950
    cache.put(0, image(9))  # already cached
    assert (cache.get(0) == image(0)).all() and cache.used == 4950


def test_what_one_process_puts_there_another_gets():
    cache = SharedImageCache(3, gigabytes=1e-5)

    def put(index):
        cache.put(index, image(10 + index))

    for index in range(2):
        worker = FORK.Process(target=put, args=(index,))
        worker.start()
        worker.join()
        assert worker.exitcode == 0
    assert cache.get(0)[0, 0, 0] == 10 and cache.get(1)[0, 0, 0] == 11 and cache.get(2) is None
    # A process that is forked later has access, too.
    worker = FORK.Process(target=lambda: os._exit(int(cache.get(1)[3, 3, 2])))
    worker.start()
    worker.join()
    assert worker.exitcode == 11


def test_many_processes_at_once_lose_nothing():
    cache = SharedImageCache(40, gigabytes=1e-4)

    def put_all(start):
        for step in range(40):
            index = (start + step) % 40
            cache.put(index, image(index))

    workers = [FORK.Process(target=put_all, args=(10 * number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert cache.used == 60_000  # each is stored once
    assert all((cache.get(index) == image(index)).all() for index in range(40))


def test_a_process_killed_inside_blocks_nobody():
    cache = SharedImageCache(2, gigabytes=1e-5)
    cache.put(0, image(1))
    cache._lock.acquire()
    cache.put(1, image(2))
    assert cache.get(1) is None and (cache.get(0) == image(1)).all()


def test_processes_of_several_gpus_share_the_bound(monkeypatch):
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '4')
    assert SharedImageCache(2, gigabytes=1e-5).capacity == 2500


@pytest.mark.skipif(not Path('/dev/shm').is_dir(), reason='no /dev/shm here')
def test_it_leaves_no_file():
    before = sorted(os.listdir('/dev/shm'))
    cache = SharedImageCache(2, gigabytes=0.5)  # may exceed the limit of a container; allocated page by page
    cache.put(0, image(1))
    assert sorted(os.listdir('/dev/shm')) == before


def test_no_room_for_its_lock_is_one_sentence(full_shm):
    full_shm()
    with pytest.raises(
        DataError, match=r'^an image cache of 0\.5 GB: the system cannot provide it \(/dev/shm is full: use '
    ):
        SharedImageCache(2, gigabytes=0.5)


@pytest.mark.parametrize('gigabytes', [-1.0, 1e9])
def test_more_than_the_machine_has_is_refused(gigabytes):
    with pytest.raises(DataError, match=r'an image cache of .* GB: this machine has \d+ GB of memory'):
        SharedImageCache(2, gigabytes)


def test_a_system_that_refuses_is_one_sentence(monkeypatch):
    def refuse(*_):
        raise OSError(12, 'Cannot allocate memory')

    monkeypatch.setattr('mmap.mmap', refuse)
    with pytest.raises(
        DataError, match=r'an image cache of 0.001 GB: the system cannot provide it \(Cannot allocate memory\)'
    ):
        SharedImageCache(2, 0.001)


def test_it_cannot_be_copied_to_a_process_that_is_not_forked():
    with pytest.raises(DataError, match="mp_start_method='fork', or leave out cache_gb"):
        copy.deepcopy(SharedImageCache(2, 1e-5))


def test_all_images_of_a_small_set_fit():
    sizes = [(25, 20), (7, 5), (641, 481)]
    cache = cache_of_all(sizes, lambda size: 4 if size[0] > 600 else 1)
    reduced = [image(0), image(1, 5, 7), image(2, 121, 161)]
    for index, each in enumerate(reduced):
        cache.put(index, each)
    assert [cache.get(index).shape for index in range(3)] == [each.shape for each in reduced]


@pytest.mark.parametrize(
    'limit, ranks, small',
    [(2e10, 1, True), (1.99e10, 1, False), (1e12, 1, True), (2e10, 2, False), (4e10, 2, False), (2e10, 0, True)],
)
def test_what_is_small_depends_on_the_memory_and_the_processes(monkeypatch, limit, ranks, small):
    monkeypatch.setenv('LOCAL_WORLD_SIZE', str(ranks))
    monkeypatch.setattr(shared_image_cache, 'memory_limit', lambda: int(limit))
    sizes = [(20_000, 10_000)] * 3 + [(20_000, 10_000 // 3)]  # 2 * 10^9 bytes but for 20,000
    cache = cache_of_all(sizes, lambda size: 1)
    assert (cache is not None) == small
    assert cache_of_all([*sizes, (100, 100)], lambda size: 1) is None
    assert cache_of_all([*sizes, (100, 100)], lambda size: 4) is not None


def test_a_cache_that_nobody_asked_for_is_left_out_where_there_is_none(full_shm, monkeypatch):
    assert cache_of_all([(4, 4)], lambda size: 1) is not None
    with monkeypatch.context() as patched:
        patched.setattr('multiprocessing.get_all_start_methods', lambda: ['spawn'])
        assert cache_of_all([(4, 4)], lambda size: 1) is None
    full_shm()
    assert cache_of_all([(4, 4)], lambda size: 1) is None


def test_only_bgr():
    with pytest.raises(ValueError, match='3 channels, not 4'):
        SharedImageCache(2, 1e-5).put(0, np.zeros((2, 2, 4), np.uint8))
