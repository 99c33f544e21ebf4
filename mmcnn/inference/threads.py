"""Reading ahead and writing behind: the work before and after the network in separate threads, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

Item = TypeVar('Item')


def ahead(step: Callable[[], Item], count: int) -> Iterator[Item]:
    """Yield the results of a function, call by call and without end, computed ahead of time in another thread.

    Nothing is called before the first item is requested. When the generator is closed, no call is in progress, and the
    thread has ended.

    Args:
        step: is called by one thread at a time; its exceptions are raised here, in order.
        count: maximum number of calls ahead; 0: use no other thread.
    """
    if count == 0:
        while True:
            yield step()
    pool = ThreadPoolExecutor(1, 'mmcnn-reading-ahead')
    waiting: deque[Future[Item]] = deque()
    try:
        while True:
            while len(waiting) < count:
                waiting.append(pool.submit(step))
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


class Behind(Generic[Item]):
    """Passes items to a function that another thread calls for each in turn. A context manager.

    On exit it waits until the function has processed all items. After a failure the function is not called again; the
    error is raised by the next call, or on exit.

    Args:
        work: takes an item.
        count: maximum number of waiting items; submitting another one waits until there is room.
    """

    def __init__(self, work: Callable[[Item], object], count: int) -> None:
        self._work, self._count, self._failed = work, count, False
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(1, 'mmcnn-writing-behind')
        return self

    def __call__(self, item: Item) -> None:
        """Submit an item; wait while too many are unfinished."""
        while self._waiting and (len(self._waiting) >= self._count or self._waiting[0].done()):
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._once, item))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()
        if error is None:
            for each in self._waiting:
                each.result()

    def _once(self, item: Item) -> None:
        if self._failed:
            return
        try:
            self._work(item)
        except BaseException:
            self._failed = True
            raise
