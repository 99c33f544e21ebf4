import itertools
import threading

import pytest

from mmcnn.inference.threads import Behind, ahead


def own_threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith('mmcnn-')]


def test_ahead_gives_everything_in_order_and_is_no_further_ahead_than_it_may():
    calls = itertools.count()
    started = []

    def step():
        started.append(number := next(calls))
        return number

    items = ahead(step, 3)
    assert started == []  # nothing starts before the first request
    for expected in range(10):
        assert next(items) == expected
        assert len(started) <= expected + 3
    items.close()
    assert own_threads() == []


def test_ahead_works_while_what_was_given_is_used():
    second = threading.Event()
    steps = iter([lambda: 'first', lambda: second.set() or 'second'])
    items = ahead(lambda: next(steps)(), 2)
    assert next(items) == 'first'
    assert second.wait(10)  # the second step runs without a request
    items.close()


def test_ahead_raises_in_turn():
    numbers = iter([1, 0])

    def step():
        return 1 // next(numbers)

    items = ahead(step, 2)
    assert next(items) == 1
    with pytest.raises(ZeroDivisionError):
        next(items)
    assert own_threads() == []


def test_ahead_by_nothing_needs_no_thread():
    items = ahead(threading.current_thread, 0)
    assert next(items) is threading.current_thread()


def test_behind_does_everything_in_order_by_its_end():
    done, go_on = [], threading.Event()

    def work(item):
        go_on.wait(10)
        done.append((item, threading.current_thread() is threading.main_thread()))

    with Behind(work, 3) as write:
        for item in range(3):
            write(item)
        assert done == []
        go_on.set()
        write(3)
    assert done == [(item, False) for item in range(4)]
    assert own_threads() == []


def test_behind_waits_where_no_room_is_left():
    done, go_on = [], threading.Event()
    with Behind(lambda item: go_on.wait(10) and done.append(item), 2) as write:
        write(0)
        write(1)
        threading.Timer(0.05, go_on.set).start()
        write(2)
        assert 0 in done


def test_behind_raises_the_first_error_and_does_no_more():
    done = []

    def work(item):
        if item == 1:
            raise OSError('the disk is full')
        done.append(item)

    with pytest.raises(OSError, match='full'), Behind(work, 5) as write:
        for item in range(4):
            write(item)
    assert done == [0]
    assert own_threads() == []


def test_behind_finishes_what_it_has_after_an_error_of_its_user():
    done = []
    with pytest.raises(KeyboardInterrupt), Behind(done.append, 5) as write:
        for item in range(3):
            write(item)
        raise KeyboardInterrupt
    assert done == [0, 1, 2]
