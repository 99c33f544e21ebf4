"""The annotations of a data set as a few flat arrays."""

from array import array
from collections.abc import Sequence

import numpy as np

from mmcnn.datasets.mosaic.plan import Source
from mmcnn.errors import DataError


class FlatAnnotations(Sequence):
    """Sizes, paths and boxes of an MMDetection data set's images, which data-loading processes share.

    Reading them from arrays takes microseconds and does not write to the pages that a process shares with its parent;
    Python objects have reference counts, which copy page by page. 118,287 images of COCO with 860,000 boxes take 30 MB.

    Args:
        dataset: An initialised data set, whose ``get_data_info(i)`` has ``img_path``, ``height``, ``width`` and
            ``instances`` with ``bbox`` (xyxy), ``bbox_label`` and ``ignore_flag``.

    Raises:
        DataError: An image has no size.
    """

    def __init__(self, dataset) -> None:
        paths, sizes, counts, ids = [], [], [], []
        # Lists of numbers would temporarily take ten times the memory.
        boxes, labels, flags = array('d'), array('q'), bytearray()
        for number in range(len(dataset)):
            info = dataset.get_data_info(number)
            path = str(info['img_path'])
            if not info.get('width') or not info.get('height'):
                raise DataError(f'{path} has no width and height in the annotations, which mosaics need')
            paths.append(path.encode())
            ids.append(info.get('img_id', number))
            sizes.append((info['width'], info['height']))
            counts.append(len(info['instances']))
            for instance in info['instances']:
                boxes.extend(instance['bbox'])
                labels.append(instance['bbox_label'])
                flags.append(bool(instance.get('ignore_flag', 0)))
        self._paths = np.frombuffer(b''.join(paths), np.uint8)
        self._path_ends = np.cumsum([0, *map(len, paths)])
        self._ids = np.array(ids)
        self._sizes = np.array(sizes, np.int32).reshape(-1, 2)
        self._box_ends = np.cumsum([0, *counts])
        self._boxes = np.array(boxes, np.float32).reshape(-1, 4)
        self._labels = np.array(labels, np.int64)
        self._flags = np.array(flags, bool)

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, index: int) -> Source:
        if not -len(self) <= index < len(self):
            raise IndexError(f'image {index} of {len(self)}')
        index %= len(self)
        part = slice(self._box_ends[index], self._box_ends[index + 1])
        size = tuple(self._sizes[index].tolist())
        return Source(index, size, self._boxes[part], self._labels[part], self._flags[part])

    def sizes(self) -> list[tuple[int, int]]:
        """Return (width, height) of all images, pixels."""
        return [(width, height) for width, height in self._sizes.tolist()]

    def path(self, index: int) -> str:
        """Return the path of an image."""
        return self._paths[self._path_ends[index] : self._path_ends[index + 1]].tobytes().decode()

    def image_id(self, index: int) -> int | str:
        """Return the id of an image in its annotation file."""
        return self._ids[index].item()
