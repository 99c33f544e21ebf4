"""``val_fraction`` and ``split_seed``: the draw of validation images is recorded with the run and enforced later."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from mmengine.config import Config

from mmcnn.datasets.check.detector import images_of_undrawn, needs_draw
from mmcnn.datasets.check.drawn_split import Draw, DrawnSplit
from mmcnn.errors import UsageError
from mmcnn.runs.options import SplitOptions

#: The entry of a config that records the draw.
KEY = 'drawn_split'
#: Its key for the data folder.
FOLDER = 'data'


def draw_of(options: SplitOptions) -> Draw | None:
    """Return the draw that the options request."""
    return None if options.val_fraction is None else Draw(options.val_fraction, options.split_seed or 0)


def draw_for(cfg: Config, root: Path, draw: Draw | None) -> Draw | None:
    """Return the requested draw, or the recorded one of a config if it divided the same folder.

    A folder is the same if it has the same path, or the same images.
    """
    recorded = _recorded(cfg)
    if draw is not None or recorded is None or not needs_draw(root):
        return draw
    if cfg[KEY].get(FOLDER) == _place(root) or recorded.images == images_of_undrawn(root):
        return Draw(recorded.val_fraction, recorded.split_seed)
    return None


def draw_to_continue(recorded: Config, root: Path, options: SplitOptions) -> Draw | None:
    """Return the draw of a run that is continued: options that are not given come from the run's config."""
    draw, before = draw_of(options), _recorded(recorded)
    if draw is None:
        return draw_for(recorded, root, None)
    return draw if before is None or options.split_seed is not None else Draw(draw.fraction, before.split_seed)


def other_images(cfg: Config, drawn: DrawnSplit | None) -> str:
    """Return a sentence if the drawn images differ from those that a run recorded in its config; otherwise ''."""
    recorded = _recorded(cfg)
    if recorded is None or drawn is None or recorded.held_out == drawn.held_out:
        return ''
    return (
        f'the validation images differ from those of the training, which drew them with {recorded.flags()}; now they '
        f'are drawn with {drawn.flags()}, and some of them may have been trained on'
    )


def record_draw(cfg: Config, drawn: DrawnSplit | None, root: Path) -> None:
    """Record a draw and the data folder in a config, and thereby in the checkpoints of its run."""
    cfg.pop(KEY, None)
    if drawn is not None:
        cfg[KEY] = {**dataclasses.asdict(drawn), FOLDER: _place(root)}


def refuse_other_images(recorded: Config, drawn: DrawnSplit | None) -> None:
    """Refuse to continue a run with other validation images.

    Raises:
        UsageError: names the options of both, or of the run that drew its images if the other did not.
    """
    before = _recorded(recorded)
    if (before is None) != (drawn is None):
        was, flags = ('were drawn', before.flags()) if before else ('were not drawn', 'the unchanged data')
        raise UsageError(f'the validation images {was} in the training to continue, but now they are '
                         f'{"not" if before else "drawn"}; some of them may have been trained on. Continue the run '
                         f'with {flags}, or start a new one')  # fmt: skip
    if text := other_images(recorded, drawn):
        raise UsageError(f'{text}. Continue the run with {_recorded(recorded).flags()}, or start a new one')


def drawn_flags(cfg: Config) -> list[str]:
    """Return the command line options that drew a config's images; none if they were not drawn."""
    recorded = _recorded(cfg)
    if recorded is None:
        return []
    return ['--val-fraction', f'{recorded.val_fraction:g}', '--split-seed', str(recorded.split_seed)]


def _recorded(cfg: Config) -> DrawnSplit | None:
    """Return the recorded draw; None if a config from elsewhere has something else under this name."""
    entry = cfg.get(KEY)
    try:
        return DrawnSplit(**{key: value for key, value in entry.items() if key != FOLDER})
    except (AttributeError, TypeError):
        return None


def _place(root: Path) -> str:
    return str(root.resolve())
