"""Pictures: boxes on an image, a grid of ground truth and predictions, curves of a training run."""

import json
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from PIL import Image, ImageDraw, ImageFont

# Okabe and Ito's palette without black and with a red and a violet added: told apart in any colour vision, RGB.
PALETTE = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (213, 94, 0),
    (204, 121, 167),
    (86, 180, 233),
    (240, 228, 66),
    (200, 30, 50),
    (120, 80, 200),
)
#: Scores that are drawn: key in the log, name, colour, and the best that there can be.
CURVES = (
    ('coco/bbox_mAP_50', 'AP50', PALETTE[1], 1),
    ('coco/bbox_mAP', 'AP', PALETTE[0], 1),
    ('accuracy/top5', 'top-5, %', PALETTE[1], 100),
    ('accuracy/top1', 'top-1, %', PALETTE[0], 100),
)
#: Entries of the log with one of these are validations.
SCORE_MARKERS = ('coco/bbox_mAP', 'accuracy/top1')
PAGE = (255, 255, 255)
INK = (40, 40, 40)


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: Sequence[int],
    scores: Sequence[float] | None = None,
    names: Sequence[str] = (),
    min_size: int = 480,
) -> np.ndarray:
    """Draws boxes with their class, and score if there is one, on a copy of an image.

    A class has the same colour in every image. An image whose longer side is below ``min_size`` is enlarged by a
    whole factor first, so that the text stays readable and small beside the objects.

    Args:
        image (np.ndarray): (H, W, 3), uint8, BGR.
        boxes (np.ndarray): (N, 4), xyxy in pixels of ``image``.
        labels (Sequence[int]): N class indices.
        scores (Sequence[float], optional): N scores, 0 to 1. Higher ones are drawn on top.
        names (Sequence[str]): Class names; a class beyond them is shown as its index.
        min_size (int): Longer side in pixels that the drawn image has at least. 0: the image keeps its size.

    Returns:
        np.ndarray: (k H, k W, 3), uint8, BGR, with a whole number k >= 1.

    Raises:
        ValueError: If the image is not (H, W, 3) uint8 or the numbers of boxes, labels and scores differ.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f'draw_boxes needs an image (H, W, 3) of uint8, but got {image.shape} of {image.dtype}')
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    if len(labels) != len(boxes) or (scores is not None and len(scores) != len(boxes)):
        raise ValueError(
            f'draw_boxes got {len(boxes)} boxes, {len(labels)} labels and '
            f'{"no" if scores is None else len(scores)} scores; the numbers must agree'
        )
    factor = max(1, -(-min_size // max(image.shape[:2])))
    height, width = image.shape[0] * factor, image.shape[1] * factor
    enlarged = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC) if factor > 1 else image
    canvas = Image.fromarray(cv2.cvtColor(enlarged, cv2.COLOR_BGR2RGB))
    draw = ImageDraw.Draw(canvas)
    size = max(width, height)
    font = _font(round(min(max(size / 45, 11), 36)))
    line = max(2, round(size / 320))
    order = range(len(boxes)) if scores is None else np.argsort(np.asarray(scores), kind='stable')
    tags = []
    for i in order:
        label = int(labels[i])
        colour = PALETTE[label % len(PALETTE)]
        x1, x2 = np.sort(boxes[i, [0, 2]].clip(0, image.shape[1]) * factor)
        y1, y2 = np.sort(boxes[i, [1, 3]].clip(0, image.shape[0]) * factor)
        draw.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=line)
        text = names[label] if label < len(names) else str(label)
        tags.append(((x1, y1), text if scores is None else f'{text} {scores[i]:.2f}', colour))
    # All tags after all boxes, so that no line crosses a text.
    for corner, text, colour in tags:
        _draw_tag(draw, corner, text, font, colour, width)
    return cv2.cvtColor(np.asarray(canvas), cv2.COLOR_RGB2BGR)


def prediction_grid(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    path: str | os.PathLike,
    columns: int = 4,
    cell: int = 480,
    caption: str = '',
) -> None:
    """Saves a grid in which every image of the ground truth has the image of the predictions at its right.

    Args:
        pairs (Sequence[tuple[np.ndarray, np.ndarray]]): (ground truth, predictions) as :func:`draw_boxes` gives
            them, (H, W, 3) uint8 BGR, of any size.
        path (str | os.PathLike): The PNG file; its folder is made.
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
    # Twice the gap between pairs, so that the eye keeps the two of a pair together.
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
            for side, picture in enumerate(pair):
                x = left + side * (cell + gap) + (cell - picture.width) // 2
                page.paste(picture, (x, top + (height - picture.height) // 2))
        top += height + gap
    if caption:
        size = min(header / 2, (page.width - 2 * gap) / _font(100).getlength(caption) * 100)
        draw.text((page.width / 2, top + footer / 2), caption, font=_font(int(size)), fill=INK, anchor='mm')
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    page.save(path, format='PNG')


def plot_curves(source: str | os.PathLike, path: str | os.PathLike) -> None:
    """Draws a training run as one PNG: losses by iteration; AP and AP50, or a classifier's accuracies, by epoch.

    Args:
        source (str | os.PathLike): A ``scalars.json`` of MMEngine, or a work directory. Of the latter all runs are
            joined by time; where a resumed run went over the same ground again, the later one counts.
        path (str | os.PathLike): The PNG file; its folder is made.

    Raises:
        FileNotFoundError: If there is no ``scalars.json``.
        ValueError: If there is no loss and no score in what was found.
    """
    losses, scores = read_scalars(source)
    if not losses and not scores:
        raise ValueError(f'{os.fspath(source)!r} holds neither losses nor {" nor ".join(SCORE_MARKERS)}')
    figure = Figure(figsize=(11, 4), layout='constrained')
    FigureCanvasAgg(figure)
    loss_axes, score_axes = figure.subplots(1, 2)

    names = sorted({name for entry in losses.values() for name in entry}, key=lambda name: (name != 'loss', name))
    for i, name in enumerate(names):
        steps = [step for step, entry in losses.items() if name in entry]
        values = [losses[step][name] for step in steps]
        total = name == 'loss'
        loss_axes.plot(
            steps,
            values,
            label='total' if total else name.removeprefix('loss_'),
            color=_hex(INK) if total else _hex(PALETTE[(i - 1) % len(PALETTE)]),
            linewidth=1.8 if total else 1.2,
            marker='.' if len(steps) == 1 else None,
        )
    positive = [value for entry in losses.values() for value in entry.values() if value > 0]
    # Components differ by orders of magnitude, and so do the first and the last value.
    if positive and max(positive) > 20 * min(positive):
        loss_axes.set_yscale('log')
        loss_axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        loss_axes.yaxis.set_major_formatter('{x:g}')
        loss_axes.yaxis.set_minor_locator(NullLocator())
    loss_axes.set(title='training loss', xlabel='iteration')

    top = 1
    for key, label, colour, whole in CURVES:
        epochs = [epoch for epoch, entry in scores.items() if key in entry]
        values = [scores[epoch][key] for epoch in epochs]
        if values:
            top = whole
            best = f'{label}, best {max(values):.{3 if whole == 1 else 2}f}'
            score_axes.plot(epochs, values, label=best, color=_hex(colour), linewidth=1.8, marker='.')
    score_axes.set(title='validation', xlabel='epoch', ylim=(0, top))
    score_axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in (loss_axes, score_axes):
        axes.grid(alpha=0.3, which='major')
        axes.spines[['top', 'right']].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format='png', dpi=120)


def read_scalars(source: str | os.PathLike) -> tuple[dict[int, dict[str, float]], dict[int, dict[str, float]]]:
    """Reads what :func:`plot_curves` draws.

    Args:
        source (str | os.PathLike): A ``scalars.json`` of MMEngine or a work directory, as there.

    Returns:
        tuple: (losses by iteration, e.g. ``{50: {'loss': 3.1, 'loss_cls': 0.4}}``; entries of the validation by epoch,
        e.g. ``{1: {'coco/bbox_mAP': 0.2, ...}}``), both in ascending order.

    Raises:
        FileNotFoundError: If there is no ``scalars.json``.
    """
    source = Path(source)
    # The folders of the runs are named by their start.
    files = [source] if source.is_file() else sorted(source.glob('*/vis_data/scalars.json'))
    if not files:
        raise FileNotFoundError(f'no scalars.json of a training run at {os.fspath(source)!r}')
    losses: dict[int, dict[str, float]] = {}
    scores: dict[int, dict[str, float]] = {}
    for file in files:
        entries = _read_lines(file)
        for kept, markers in ((losses, ('loss',)), (scores, SCORE_MARKERS)):
            run = {entry['step']: entry for entry in entries if any(marker in entry for marker in markers)}
            # A resumed run starts inside the older one and replaces the rest of it.
            for step in [step for step in kept if run and step >= min(run)]:
                del kept[step]
            kept.update(run)
    only_losses = {
        step: {name: value for name, value in entry.items() if name == 'loss' or name.startswith('loss_')}
        for step, entry in losses.items()
    }
    return only_losses, scores


def _read_lines(file: Path) -> list[dict]:
    entries = []
    for line in file.read_text(encoding='utf-8').splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            # A killed run leaves half a line behind.
            continue
    return entries


def _fit(picture: np.ndarray, cell: int) -> Image.Image:
    scale = cell / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)).resize(size, Image.Resampling.LANCZOS)


def _draw_tag(
    draw: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    text: str,
    font: ImageFont.FreeTypeFont,
    colour: tuple[int, int, int],
    width: int,
) -> None:
    """A filled tag above the box's upper left corner, moved inside the picture."""
    ascent, descent = font.getmetrics()
    pad = max(1, font.size // 8)
    tag_width, tag_height = draw.textlength(text, font=font) + 2 * pad, ascent + descent
    x = max(0.0, min(corner[0], width - tag_width))
    y = corner[1] - tag_height if corner[1] >= tag_height else corner[1]
    draw.rectangle((x, y, x + tag_width, y + tag_height), fill=colour)
    # Black or white, whichever contrasts with the tag (luma of ITU-R BT.601).
    luma = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    draw.text((x + pad, y), text, font=font, fill=(0, 0, 0) if luma > 140 else (255, 255, 255))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # Matplotlib brings this font along; OpenCV's own draws question marks for what is not ASCII.
    return ImageFont.truetype(os.path.join(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf'), size)


def _hex(colour: tuple[int, int, int]) -> str:
    return '#{:02x}{:02x}{:02x}'.format(*colour)
