"""Small images with boxes, embedded in a page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from markupsafe import Markup

from mmcnn.plots.boxes import draw_boxes
from mmcnn.plots.palette import PALETTE, as_hex

#: Longer side of an image on a page, pixels.
LONGEST = 320
_QUALITY = 80  # JPEG quality


@dataclass(frozen=True)
class Panel:
    """An image with a caption.

    Attributes:
        data: returned by :func:`thumbnail`.
        title: title, in bold.
        text: text after the title; '' for none.
        alternative: description for users who cannot see it.
        series: number of the legend's button that hides and shows it; None: always shown.
    """

    data: str
    title: str
    text: str | Markup
    alternative: str
    series: int | None = None


def thumbnail(
    image: np.ndarray,
    boxes: np.ndarray | None = None,
    labels: Sequence[int] = (),
    scores: Sequence[float] | None = None,
    names: Sequence[str] = (),
    longest: int = LONGEST,
) -> str:
    """Return an image of at most ``longest`` pixels with boxes, as the data address of a JPEG.

    Args:
        image: (H, W, 3) uint8, BGR.
        boxes: (N, 4), xyxy in pixels of ``image``; None: none.
        labels: see :func:`~mmcnn.plots.boxes.draw_boxes`.
        scores: see there.
        names: see there.
        longest: longer side, pixels.
    """
    scale = min(1.0, longest / max(image.shape[:2]))
    size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    if boxes is not None and len(boxes):
        small = draw_boxes(small, np.asarray(boxes) * scale, labels, scores, names, min_size=0, tags=False)
    jpeg = cv2.imencode('.jpg', small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return f'data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}'


def gallery(panels: Sequence[Panel], wide: bool = False) -> Markup:
    """Return images side by side, as many per row as fit; ``wide`` ones take twice the width."""
    kind = 'gallery wide' if wide else 'gallery'
    return Markup('<div class="{}">\n{}\n</div>').format(kind, Markup('\n').join(map(_figure, panels)))


def class_colours(names: Sequence[str]) -> Markup:
    """Return a legend of the colours of the boxes of each class."""
    items = Markup('').join(
        Markup('<li><span class="swatch" style="background: {}"></span>{}</li>').format(
            as_hex(PALETTE[i % len(PALETTE)]), name
        )
        for i, name in enumerate(names)
    )
    return Markup('<ul class="swatches" aria-label="Colours of the boxes">{}</ul>').format(items)


def _figure(panel: Panel) -> Markup:
    series = '' if panel.series is None else Markup(' data-series="{}"').format(panel.series)
    return Markup('<figure{}><img src="{}" alt="{}"><figcaption><strong>{}</strong> {}</figcaption></figure>').format(
        series, panel.data, panel.alternative, panel.title, panel.text
    )
