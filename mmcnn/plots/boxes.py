"""Boxes drawn on an image, and a grid of ground truth next to predictions."""

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmcnn.console.layout import MAX_NAME, shortened
from mmcnn.plots.fonts import OWN, check_font, draw_text, line_metrics, say_what_is_missing, text_width
from mmcnn.plots.palette import INK, PAGE, PALETTE


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: Sequence[int],
    scores: Sequence[float] | None = None,
    names: Sequence[str] = (),
    min_size: int = 480,
    font: str | os.PathLike | None = None,
    tags: bool = True,
) -> np.ndarray:
    """Draw boxes with their class, and score if there is one, on a copy of an image.

    A class has the same colour in every image. An image whose longer side is below ``min_size`` is first enlarged by an
    integer factor, so that the text is readable and small compared to the objects.

    Names are written on one line; long ones end in an ellipsis. Characters that Matplotlib's own font lacks are taken
    from system fonts; those that no font has are reported once, as a warning.

    Args:
        image (np.ndarray): (H, W, 3), uint8, BGR.
        boxes (np.ndarray): (N, 4), xyxy in pixels of ``image``.
        labels (Sequence[int]): N class indices.
        scores (Sequence[float], optional): N scores, 0 to 1. Higher ones are drawn on top.
        names (Sequence[str]): Class names; a class beyond them is shown as its index.
        min_size (int): Minimum longer side of the drawn image in pixels. 0: the image keeps its size.
        font (str | os.PathLike, optional): A font file that takes precedence.
        tags (bool): False: omit classes and scores, for images that are too small for text.

    Returns:
        np.ndarray: (k H, k W, 3), uint8, BGR, with an integer k >= 1.

    Raises:
        ValueError: If the image is not (H, W, 3) uint8, the numbers of boxes, labels and scores differ, or the font
            does not exist.
    """
    check_font(font)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f'draw_boxes needs an image (H, W, 3) of uint8, but got {image.shape} of {image.dtype}')
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    if len(labels) != len(boxes) or (scores is not None and len(scores) != len(boxes)):
        raise ValueError(
            f'draw_boxes got {len(boxes)} boxes, {len(labels)} labels and '
            f'{"no" if scores is None else len(scores)} scores; the numbers must be equal'
        )
    factor = max(1, -(-min_size // max(image.shape[:2])))
    height, width = image.shape[0] * factor, image.shape[1] * factor
    enlarged = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC) if factor > 1 else image
    canvas = Image.fromarray(cv2.cvtColor(enlarged, cv2.COLOR_BGR2RGB))
    draw = ImageDraw.Draw(canvas)
    size = max(width, height)
    points = round(min(max(size / 45, 11), 36))
    line = max(2, round(size / 320))
    order = range(len(boxes)) if scores is None else np.argsort(np.asarray(scores), kind='stable')
    texts = []
    for i in order:
        label = int(labels[i])
        colour = PALETTE[label % len(PALETTE)]
        x1, x2 = np.sort(boxes[i, [0, 2]].clip(0, image.shape[1]) * factor)
        y1, y2 = np.sort(boxes[i, [1, 3]].clip(0, image.shape[0]) * factor)
        draw.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=line)
        name = names[label] if label < len(names) else str(label)
        texts.append(((x1, y1), name, '' if scores is None else f' {scores[i]:.2f}', colour))
    texts = texts if tags else []
    say_what_is_missing({name for _, name, _, _ in texts}, font)
    # All tags after all boxes, so that no line crosses a text.
    for corner, name, score, colour in texts:
        _draw_tag(draw, corner, _fitting(name, score, points, font, width), points, font, colour, width)
    return cv2.cvtColor(np.asarray(canvas), cv2.COLOR_RGB2BGR)


def prediction_grid(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    path: str | os.PathLike,
    columns: int = 4,
    cell: int = 480,
    caption: str = '',
) -> None:
    """Save a grid in which the image of the predictions is to the right of each image of the ground truth.

    Args:
        pairs (Sequence[tuple[np.ndarray, np.ndarray]]): (ground truth, predictions) returned by :func:`draw_boxes`,
            (H, W, 3) uint8 BGR, of any size.
        path (str | os.PathLike): The PNG file; its folder is created.
        columns (int): Images in a row, an even number: half of them ground truth, half predictions.
        cell (int): Width and height in pixels that an image is fitted into.
        caption (str): A line below the grid.

    Raises:
        ValueError: If there is no pair or ``columns`` is not a positive even number.
    """
    if not pairs:
        raise ValueError('prediction_grid needs at least one pair of images')
    if columns < 2 or columns % 2:
        raise ValueError(f'prediction_grid shows pairs, so columns must be even and at least 2, but is {columns}')
    gap, header = max(4, cell // 45), max(20, cell // 9)
    across = min(columns // 2, len(pairs))
    rows = -(-len(pairs) // across)
    # A row is as high as its highest image.
    fitted = [[_fit(image, cell) for image in pair] for pair in pairs]
    heights = [
        max(image.height for pair in fitted[row * across : (row + 1) * across] for image in pair) for row in range(rows)
    ]
    # Twice the gap between pairs, so that the two images of a pair visibly belong together.
    pair_width = 2 * cell + gap
    footer = header if caption else 0
    size = (across * pair_width + 3 * gap * (across - 1) + 2 * gap, header + sum(heights) + gap * rows + footer)
    page = Image.new('RGB', size, PAGE)
    draw = ImageDraw.Draw(page)
    font = _font(header // 2)
    for position in range(across):
        left = gap + position * (pair_width + 3 * gap)
        for side, title in enumerate(('ground truth', 'prediction')):
            centre = left + side * (cell + gap) + cell / 2
            draw.text((centre, header / 2), title, font=font, fill=INK, anchor='mm')
    top = header
    for row, height in enumerate(heights):
        for position, pair in enumerate(fitted[row * across : (row + 1) * across]):
            left = gap + position * (pair_width + 3 * gap)
            for side, image in enumerate(pair):
                x = left + side * (cell + gap) + (cell - image.width) // 2
                page.paste(image, (x, top + (height - image.height) // 2))
        top += height + gap
    if caption:
        size = min(header / 2, (page.width - 2 * gap) / _font(100).getlength(caption) * 100)
        draw.text((page.width / 2, top + footer / 2), caption, font=_font(int(size)), fill=INK, anchor='mm')
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    page.save(path, format='PNG')


def _fit(image: np.ndarray, cell: int) -> Image.Image:
    scale = cell / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).resize(size, Image.Resampling.LANCZOS)


def _draw_tag(
    draw: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    text: str,
    size: int,
    font: str | os.PathLike | None,
    colour: tuple[int, int, int],
    width: int,
) -> None:
    """Draw a filled tag above the box's upper left corner, moved inside the image."""
    pad = _pad(size)
    tag_width, tag_height = text_width(text, size, font) + 2 * pad, sum(line_metrics(size, font))
    x = max(0.0, min(corner[0], width - tag_width))
    y = corner[1] - tag_height if corner[1] >= tag_height else corner[1]
    draw.rectangle((x, y, x + tag_width, y + tag_height), fill=colour)
    # Black or white, whichever contrasts with the tag (luma of ITU-R BT.601).
    luma = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    draw_text(draw, (x + pad, y), text, size, (0, 0, 0) if luma > 140 else (255, 255, 255), font)


def _fitting(name: str, score: str, size: int, font: str | os.PathLike | None, width: int) -> str:
    """Return a name on one line and its score, with the name shortened to fit the image."""
    columns = MAX_NAME
    while text_width(shortened(name, columns) + score, size, font) > width - 2 * _pad(size) and columns > 2:
        columns -= 1
    return shortened(name, columns) + score


def _pad(size: int) -> int:
    """Return the padding of a tag's text in pixels."""
    return max(1, size // 8)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(OWN, size)
