"""The detections in one image. Needs NumPy only; anything else is imported by the methods that use it."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmcnn.errors import UsageError

if TYPE_CHECKING:
    import supervision

_CLASSES_SHOWN = 10


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """The K boxes detected in one image, best first.

    ``len(found)`` is K. ``found[index]`` gives Detections as well: ``found[found.scores > 0.5]``, ``found[:10]``,
    ``found[[0, 3]]``, ``found[0]``.

    Attributes:
        boxes: (K, 4) float32: x1, y1, x2, y2 in pixels of the given image.
        scores: (K,) float32 in [0, 1].
        labels: (K,) int64, index of the class.
        names: names of the K classes.
        path: the image file; None: the image was not given as a file.

    Raises:
        UsageError: the numbers of boxes, scores, labels and names differ, or the boxes are not (K, 4).
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    names: list[str]
    path: Path | None = None

    def __post_init__(self) -> None:
        values = dict(
            boxes=np.asarray(self.boxes, dtype=np.float32),
            scores=np.asarray(self.scores, dtype=np.float32),
            labels=np.asarray(self.labels, dtype=np.int64),
            names=list(self.names),
        )
        if not values['boxes'].size:
            values['boxes'] = values['boxes'].reshape(0, 4)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        count = len(self.names)
        if (self.boxes.shape, self.scores.shape, self.labels.shape) != ((count, 4), (count,), (count,)):
            raise UsageError(
                f'Detections got boxes {self.boxes.shape}, scores {self.scores.shape}, labels {self.labels.shape} and '
                f'{count} names; they must be (K, 4), (K,), (K,) and K'
            )

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> Detections:
        if isinstance(index, list) and not index:
            index = slice(0)  # NumPy converts an empty list to floats
        # Positions, so that any index that NumPy accepts works for the list of names as well.
        chosen = np.arange(len(self))[index].reshape(-1)
        names = [self.names[i] for i in chosen]
        return Detections(self.boxes[chosen], self.scores[chosen], self.labels[chosen], names, self.path)

    def __iter__(self) -> Iterator[Any]:
        """Return an iterator over the four fields; deprecated, from the time when Detections was a tuple."""
        warnings.warn(
            'Detections will not be a tuple in the next release: use found.boxes, found.scores, found.labels and '
            'found.names',
            DeprecationWarning,
            stacklevel=2,
        )
        return iter((self.boxes, self.scores, self.labels, self.names))

    def __repr__(self) -> str:
        counts = Counter(self.names).most_common()
        best = dict(zip(reversed(self.names), reversed(self.scores.tolist()), strict=True))
        parts = [f'{count} {name} (best score {best[name]:.2f})' for name, count in counts[:_CLASSES_SHOWN]]
        if len(counts) > _CLASSES_SHOWN:
            parts.append(f'{len(counts) - _CLASSES_SHOWN} more classes')
        return f'Detections({", ".join(parts) or "nothing found"})'

    def to_supervision(self) -> supervision.Detections:
        """Convert to ``supervision.Detections``, with the names as ``data['class_name']``.

        Raises:
            UsageError: the package supervision is not installed.
        """
        try:
            import supervision
        except ModuleNotFoundError as error:
            if error.name != 'supervision':
                raise
            raise UsageError('to_supervision needs another package: pip install supervision') from error
        return supervision.Detections(
            xyxy=self.boxes.copy(),
            confidence=self.scores.copy(),
            class_id=self.labels.copy(),
            data={'class_name': np.array(self.names, dtype=str)},
        )

    def as_coco(self, image_id: int, category_ids: Sequence[int] | Mapping[int, int] | None = None) -> list[dict]:
        """Return a dict for each detection in COCO's result format: image_id, category_id, bbox and score.

        The bbox is x, y, width, height in pixels. All values are plain Python objects, ready for json.

        Args:
            image_id: id of the image in the annotation file.
            category_ids: the category of each label; None: label + 1, because COCO counts from 1.

        Raises:
            UsageError: a label has no category.
        """
        result = []
        for box, score, label in zip(self.boxes.tolist(), self.scores.tolist(), self.labels.tolist(), strict=True):
            try:
                category = label + 1 if category_ids is None else category_ids[label]
            except (IndexError, KeyError) as error:
                raise UsageError(f'as_coco: category_ids {category_ids} has no entry for the label {label}') from error
            x1, y1, x2, y2 = box
            result.append(
                dict(image_id=_plain(image_id), category_id=_plain(category), bbox=[x1, y1, x2 - x1, y2 - y1],
                     score=score)
            )  # fmt: skip
        return result

    def plot(self, image: object = None, path: str | Path | None = None, font: str | Path | None = None) -> np.ndarray:
        """Draw the boxes with their classes and scores on a copy of the image.

        Detections do not keep images, only the path of a file, which is read again.

        Args:
            image: the image in which the objects were detected, in any form that :class:`mmcnn.Detector` takes; None:
                the file at ``self.path``.
            path: file to which the drawn image is written; the suffix determines the format. None: it is not written.
            font: a font file for the names; None: installed fonts that have their characters.

        Returns:
            (H, W, 3) uint8 BGR.

        Raises:
            UsageError: there is no image, ``path`` is the file of the image or does not have the suffix of an image
                format, or ``font`` is not a font.
            DataError: the image cannot be read, or the drawn image cannot be written.
        """
        from mmcnn.inference.images import as_image, write_image
        from mmcnn.plots.boxes import draw_boxes

        if image is None:
            image = self.path
        if image is None:
            raise UsageError('these detections have no image file: pass the image, found.plot(image)')
        if path is not None:
            for source in (image, self.path):
                if isinstance(source, str | Path) and Path(source).resolve() == Path(path).resolve():
                    raise UsageError(f'plot: {path} is the image itself and would be overwritten; choose another path')
        names = [''] * (self.labels.max(initial=-1) + 1)
        for label, name in zip(self.labels, self.names, strict=True):
            names[label] = name
        drawn = draw_boxes(as_image(image), self.boxes, self.labels, self.scores, names, min_size=0, font=font)
        if path is not None:
            write_image(path, drawn)
        return drawn


def _plain(number: Any) -> Any:
    return number.item() if isinstance(number, np.generic) else number
