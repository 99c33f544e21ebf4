"""A bounded cache of decoded images that all data-loading processes share."""

import mmap
import multiprocessing
import os
from collections.abc import Callable, Sequence

import numpy as np

from mmcnn.engine import shared_memory
from mmcnn.errors import DataError
from mmcnn.system_memory import memory_limit

#: A data set is small if its decoded images need at most this many bytes, and this share of the machine's memory.
SMALL, SMALL_SHARE = 2 * 10**9, 0.1

_EMPTY, _WRITING, _READY = 0, 1, 2


class SharedImageCache:
    """Images of a data set in one block of memory, shared between a process and its forked children.

    The block is anonymous: it needs no file and no space in /dev/shm, and ends with the last process that uses it.
    Pages take memory when an image is stored. If the next image does not fit, it is not stored; nothing is evicted,
    because a mosaic draws every image equally often and no policy would be better. All processes can read an image
    that one of them has stored, also those that are forked later. Several processes on one machine that are not
    forked from each other (one for each GPU) have separate blocks and share the limit.

    Args:
        num_images: Number of images of the data set.
        gigabytes: Limit of the blocks on this machine, in 10^9 bytes.

    Raises:
        DataError: The limit is not positive or exceeds the machine's memory, the system cannot provide the block, or it
            cannot fork processes (Windows).
    """

    def __init__(self, num_images: int, gigabytes: float) -> None:
        if 'fork' not in multiprocessing.get_all_start_methods():
            raise DataError(
                f'an image cache of {gigabytes:g} GB: it is shared by forking, which this system does not know; leave '
                'cache_gb out'
            )
        memory = memory_limit() / 1e9
        if not 0 < gigabytes <= memory:
            raise DataError(f'an image cache of {gigabytes:g} GB: this machine has {memory:.0f} GB of memory')
        self.capacity = int(gigabytes * 1e9) // max(int(os.environ.get('LOCAL_WORLD_SIZE', 1)), 1)
        try:
            self._block = mmap.mmap(-1, max(self.capacity, 1))
            index = mmap.mmap(-1, 8 * (1 + 4 * num_images))
            self._lock = multiprocessing.get_context('fork').Lock()
        except OSError as error:
            reason = shared_memory.refusal(error)
            raise DataError(f'an image cache of {gigabytes:g} GB: the system cannot provide it ({reason})') from error
        numbers = np.frombuffer(index, np.int64)
        self._used = numbers[:1]
        self._state, self._offset, self._height, self._width = numbers[1:].reshape(4, num_images)

    def __getstate__(self) -> dict:
        raise DataError(
            'the image cache is shared by forking, but these data-loading processes are not forked: '
            "use env_cfg.mp_cfg.mp_start_method='fork', or leave out cache_gb"
        )

    @property
    def used(self) -> int:
        """Number of bytes in use."""
        return int(self._used[0])

    def get(self, index: int) -> np.ndarray | None:
        """Return a stored image, (h, w, 3) uint8, without a copy: it must not be written to. None: it is not stored."""
        if self._state[index] != _READY:
            return None
        return self._view(index, int(self._height[index]), int(self._width[index]))

    def put(self, index: int, image: np.ndarray) -> None:
        """Store a copy of an image (h, w, 3) uint8, if there is room and no process has stored it already."""
        height, width, channels = image.shape
        if channels != 3:
            raise ValueError(f'SharedImageCache needs images with 3 channels, not {channels}')
        # A process that was killed here may hold the lock for ever: then nothing more is stored.
        if not self._lock.acquire(timeout=1.0):
            return
        try:
            if self._state[index] != _EMPTY or self.used + image.nbytes > self.capacity:
                return
            self._state[index], self._offset[index] = _WRITING, self.used
            self._height[index], self._width[index] = height, width
            self._used[0] += image.nbytes
        finally:
            self._lock.release()
        self._view(index, height, width)[:] = image
        # Taking the lock again orders the pixels before the mark, also on processors that could reorder them.
        if self._lock.acquire(timeout=1.0):
            self._state[index] = _READY
            self._lock.release()

    def _view(self, index: int, height: int, width: int) -> np.ndarray:
        return np.ndarray((height, width, 3), np.uint8, self._block, int(self._offset[index]))


def cache_of_all(
    sizes: Sequence[tuple[int, int]], reduction: Callable[[tuple[int, int]], int]
) -> SharedImageCache | None:
    """Return a cache for all images of a small data set; None if it is not small, or the system provides no cache.

    Args:
        sizes: (width, height) of the images, pixels.
        reduction: Returns the factor by which an image of a size is reduced when it is decoded.
    """
    if 'fork' not in multiprocessing.get_all_start_methods():
        return None
    blocks = max(int(os.environ.get('LOCAL_WORLD_SIZE', 1)), 1)
    size = blocks * sum(_decoded_bytes(each, reduction(each)) for each in sizes)
    if size > min(SMALL, SMALL_SHARE * memory_limit()):
        return None
    try:
        return SharedImageCache(len(sizes), (size + blocks) / 1e9)  # a byte more for each block, for the rounding
    except DataError:  # for example, because /dev/shm is full
        return None


def _decoded_bytes(size: tuple[int, int], reduction: int) -> int:
    """Return the bytes of an image of (width, height) pixels that is reduced when it is decoded."""
    width, height = (-(-side // reduction) for side in size)
    return 3 * width * height
