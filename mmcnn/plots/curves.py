"""Plots of a training run: losses by iteration, metrics by epoch."""

import itertools
import json
import math
import os
from pathlib import Path

from matplotlib.axes import Axes

from mmcnn.plots.palette import INK, LINE_COLOURS, PALETTE, as_hex
from mmcnn.plots.style import plain_log_ticks, saved_figure, tidy

#: Scores that are drawn: key in the log, name, colour, and the best possible value.
CURVES = (
    ('coco/bbox_mAP_50', 'AP50', PALETTE[1], 1),
    ('coco/bbox_mAP', 'AP', PALETTE[0], 1),
    ('accuracy/top5', 'top-5, %', PALETTE[1], 100),
    ('accuracy/top1', 'top-1, %', PALETTE[0], 100),
)
#: Entries of the log with one of these are validations.
SCORE_MARKERS = ('coco/bbox_mAP', 'accuracy/top1')


def plot_curves(source: str | os.PathLike, path: str | os.PathLike) -> None:
    """Draw a training run as one PNG: losses by iteration; AP and AP50, or a classifier's accuracies, by epoch.

    For a run without validations, only the losses are drawn.

    Args:
        source (str | os.PathLike): A ``scalars.json`` of MMEngine, or a work directory, all of whose runs are joined by
            time; where a resumed run repeats iterations, the later one counts.
        path (str | os.PathLike): The PNG file; its folder is created.

    Raises:
        FileNotFoundError: If there is no ``scalars.json``.
        ValueError: If neither a loss nor a score is found.
    """
    losses, scores = read_scalars(source)
    if not losses and not scores:
        raise ValueError(f'{os.fspath(source)!r} holds neither losses nor {" nor ".join(SCORE_MARKERS)}')
    panels = [(_draw_losses, losses), (_draw_scores, scores)] if scores else [(_draw_losses, losses)]
    with saved_figure(path, 11 if scores else 6, 4, dpi=120) as figure:
        for axes, (draw, values) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            draw(axes, values)


def _draw_losses(axes: Axes, losses: dict[int, dict[str, float]]) -> None:
    names = sorted({name for entry in losses.values() for name in entry}, key=lambda name: (name != 'loss', name))
    for i, name in enumerate(names):
        steps = [step for step, entry in losses.items() if name in entry]
        total = name == 'loss'
        axes.plot(
            steps,
            [losses[step][name] for step in steps],
            label='total' if total else name.removeprefix('loss_'),
            color=as_hex(INK) if total else LINE_COLOURS[(i - 1) % len(LINE_COLOURS)],
            linewidth=1.8 if total else 1.2,
            marker='.' if len(steps) == 1 else None,
        )
    positive = [value for entry in losses.values() for value in entry.values() if value > 0]
    # Components differ by orders of magnitude, and so do the first and the last value.
    if positive and max(positive) > 20 * min(positive):
        axes.set_yscale('log')
        plain_log_ticks(axes.yaxis)
    axes.set(title='training loss', xlabel='iteration')
    tidy(axes)
    if len(names) > 1:  # next to the axes: curves may be anywhere in them
        axes.legend(frameon=False, loc='center left', bbox_to_anchor=(1, 0.5))


def _draw_scores(axes: Axes, scores: dict[int, dict[str, float]]) -> None:
    top = 1
    for key, label, colour, whole in CURVES:
        # NaN where there was nothing to measure.
        epochs = [epoch for epoch, entry in scores.items() if key in entry and not math.isnan(entry[key])]
        values = [scores[epoch][key] for epoch in epochs]
        if values:
            top = whole
            best = f'{label}, best {max(values):.{3 if whole == 1 else 2}f}'
            axes.plot(epochs, values, label=best, color=as_hex(colour), linewidth=1.8, marker='.')
    axes.set(title='validation', xlabel='epoch', ylim=(0, top))
    axes.xaxis.get_major_locator().set_params(integer=True)
    tidy(axes)
    if axes.lines:
        axes.legend(frameon=False)


def read_scalars(source: str | os.PathLike) -> tuple[dict[int, dict[str, float]], dict[int, dict[str, float]]]:
    """Read the data for :func:`plot_curves`.

    Args:
        source (str | os.PathLike): A ``scalars.json`` of MMEngine or a work directory, see there.

    Returns:
        tuple: (losses by iteration, e.g. ``{50: {'loss': 3.1, 'loss_cls': 0.4}}``; entries of the validation by epoch,
        e.g. ``{1: {'coco/bbox_mAP': 0.2, ...}}``), both in ascending order.

    Raises:
        FileNotFoundError: If there is no ``scalars.json``.
    """
    iterations, scores = read_entries(source)
    only_losses = {
        step: {name: value for name, value in entry.items() if name == 'loss' or name.startswith('loss_')}
        for step, entry in iterations.items()
    }
    return only_losses, scores


def read_entries(source: str | os.PathLike) -> tuple[dict[int, dict[str, float]], dict[int, dict[str, float]]]:
    """Read the same as :func:`read_scalars`, with all logged values of an iteration, including ``lr`` and ``epoch``.

    Raises:
        FileNotFoundError: If there is no ``scalars.json``.
    """
    source = Path(source)
    # The folders of the runs are named by their start time.
    files = [source] if source.is_file() else sorted(source.glob('*/vis_data/scalars.json'))
    if not files:
        raise FileNotFoundError(f'no scalars.json of a training run at {os.fspath(source)!r}')
    iterations: dict[int, dict[str, float]] = {}
    scores: dict[int, dict[str, float]] = {}
    for file in files:
        entries = _read_lines(file)
        for kept, markers in ((iterations, ('loss',)), (scores, SCORE_MARKERS)):
            run = {entry['step']: entry for entry in entries if any(marker in entry for marker in markers)}
            # A resumed run starts within the older one and replaces the rest of it.
            for step in [step for step in kept if run and step >= min(run)]:
                del kept[step]
            kept.update(run)
    return iterations, scores


def training_seconds(source: str | os.PathLike, iterations: int = 0) -> float:
    """Return the seconds that the iterations of a run took, including loading but not validations.

    Args:
        source: A work directory; where a resumed run repeats iterations, the later one counts.
        iterations: Number of iterations so far. Those after the last logged one count like the ones before it.

    Raises:
        FileNotFoundError: If there is no ``scalars.json``.
    """
    entries, _ = read_entries(source)
    if entries and iterations > (last := max(entries)):
        entries[iterations] = entries[last]
    lengths = [step - before for before, step in itertools.pairwise([0, *entries])]
    return sum(length * entry['time'] for length, entry in zip(lengths, entries.values(), strict=True))


def _read_lines(file: Path) -> list[dict]:
    entries = []
    for line in file.read_text(encoding='utf-8').splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            # A killed run leaves an incomplete line behind.
            continue
    return entries
