"""``val_fraction`` and ``split_seed``: the draw of validation images is recorded with the run and enforced later."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from mmengine.config import Config

from mmcnn.datasets.check.detector import images_of_undrawn, needs_draw
from mmcnn.datasets.check.drawn_split import Draw, DrawnSplit
from mmcnn.errors import UsageError
from mmcnn.runs.options import SplitOptions

#: The entry of a config that records it.
KEY = 'drawn_split'
#: In it, the data folder.
FOLDER = 'data'


def draw_of(options: SplitOptions) -> Draw | None:
    """Return what the options ask for."""
    return None if options.val_fraction is None else Draw(options.val_fraction, options.split_seed or 0)


def draw_for(cfg: Config, root: Path, draw: Draw | None) -> Draw | None:
    """Return the draw that was requested, or the recorded one of a config if the folder is the one that it divided.

    That is one in the same place, or with the same images.
    """
    recorded = _recorded(cfg)
    if draw is not None or recorded is None or not needs_draw(root):
        return draw
    if cfg[KEY].get(FOLDER) == _place(root) or recorded.images == images_of_undrawn(root):
        return Draw(recorded.val_fraction, recorded.split_seed)
    return None


def draw_to_continue(recorded: Config, root: Path, options: SplitOptions) -> Draw | None:
    """Return the draw of a run that is continued: what the options do not say is that of the config of the run."""
    draw, before = draw_of(options), _recorded(recorded)
    if draw is None:
        return draw_for(recorded, root, None)
    return draw if before is None or options.split_seed is not None else Draw(draw.fraction, before.split_seed)


def other_images(cfg: Config, drawn: DrawnSplit | None) -> str:
    """Return a sentence where other images were drawn than those that a run recorded in its config; else ''."""
    recorded = _recorded(cfg)
    if recorded is None or drawn is None or recorded.held_out == drawn.held_out:
        return ''
    return (
        f'the images to validate on are not those of the training: it drew them with {recorded.flags()}, and now they '
        f'are drawn with {drawn.flags()}; some of them may have been trained on'
    )


def record_draw(cfg: Config, drawn: DrawnSplit | None, root: Path) -> None:
    """Record a draw and the data folder in a config, and so in the checkpoints of its run."""
    cfg.pop(KEY, None)
    if drawn is not None:
        cfg[KEY] = {**dataclasses.asdict(drawn), FOLDER: _place(root)}


def refuse_other_images(recorded: Config, drawn: DrawnSplit | None) -> None:
    """Refuse to continue a run that held other images out.

    Raises:
        UsageError: names the options of both, or the one that drew its images where the other did not.
    """
    before = _recorded(recorded)
    if (before is None) != (drawn is None):
        was, flags = ('were drawn', before.flags()) if before else ('were not drawn', 'the data as it was')
        raise UsageError(f'the images to validate on {was} in the training that is to be continued, and now they are '
                         f'{"not" if before else "drawn"}; some of them may have been trained on. Continue the run '
                         f'with {flags}, or start a new one')  # fmt: skip
    if text := other_images(recorded, drawn):
        raise UsageError(f'{text}. Continue the run with {_recorded(recorded).flags()}, or start a new one')


def drawn_flags(cfg: Config) -> list[str]:
    """Return the options of the command line by which a config's images were drawn; none where they were not."""
    recorded = _recorded(cfg)
    if recorded is None:
        return []
    return ['--val-fraction', f'{recorded.val_fraction:g}', '--split-seed', str(recorded.split_seed)]


def _recorded(cfg: Config) -> DrawnSplit | None:
    """Return what is recorded; a config from elsewhere may hold anything under this name, and that is none."""
    entry = cfg.get(KEY)
    try:
        return DrawnSplit(**{key: value for key, value in entry.items() if key != FOLDER})
    except (AttributeError, TypeError):
        return None


def _place(root: Path) -> str:
    return str(root.resolve())
