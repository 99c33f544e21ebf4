"""A comparison from its options to its files: the one place that knows the order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config

from mmcnn.compare import trainings
from mmcnn.compare.candidates import Candidate, candidates, widened
from mmcnn.compare.options import CompareOptions
from mmcnn.compare.widths import fitted_width
from mmcnn.config.entries import merge_options
from mmcnn.config.load import load_config
from mmcnn.config.model import is_classifier
from mmcnn.errors import UsageError
from mmcnn.runs.img_size import image_size, set_img_size
from mmcnn.runs.options import TrainOptions
from mmcnn.runs.run_lock import refuse_live
from mmcnn.weights.own_modules import import_modules

#: Takes a sentence for whoever started the comparison.
Say = Callable[[str], object]


@dataclasses.dataclass(frozen=True)
class Plan:
    """A comparison that can start: all that can be refused has been.

    Attributes:
        options: what it was made from.
        cfg: of the detector, as it was loaded.
        candidates: what is compared, each at its width.
        runs: its trainings.
        size: width and height of the images that they are tested on, pixels.
        work_dir: its folder.
    """

    options: CompareOptions
    cfg: Config
    candidates: list[Candidate]
    runs: list[trainings.Run]
    size: tuple[int, int]
    work_dir: Path


def plan(options: CompareOptions, say: Say = print) -> Plan:
    """Works out what is to be trained, and refuses what cannot work before anything is.

    Args:
        options: of the comparison.
        say: takes sentences.

    Raises:
        MmcnnError: an option, the data or a file is at fault, or a run of the folder goes on.
    """
    import_modules(options.imports)
    cfg = load_config(options.config)
    if is_classifier(cfg):
        raise UsageError(f'{options.config} is a classifier; backbones are compared in a detector')
    work_dir = Path(options.work_dir or Path('work_dirs') / f'compare_{Path(cfg.filename).stem}').resolve()
    refuse_live(work_dir)
    several = candidates(options.backbones, options.weights, options.fraction)
    if options.macs is not None:
        several = _at_equal_width(several, cfg, options, say)
    data = options.data if options.data in (None, 'demo') else str(Path(options.data).resolve())
    budget = options.training() | dict(data=data)
    other = dict(workers=options.workers, device=options.device, imports=options.imports, cache_gb=options.cache_gb)
    runs = trainings.plan(cfg, several, trainings.seeds_of(options), work_dir, budget, **other)
    size = trainings.check(TrainOptions(config=cfg, seed=options.seed, **budget, **other), several)
    return Plan(options, cfg, several, runs, size, work_dir)


def _at_equal_width(several: list[Candidate], cfg: Config, options: CompareOptions, say: Say) -> list[Candidate]:
    """The candidates at the widths where their detectors need ``options.macs`` multiply-adds."""
    found = []
    widths: dict[str, float] = {}
    for each in several:
        if each.backbone not in widths:
            changed = each.config(cfg)
            merge_options(changed, options.cfg_options, lambda note: None)
            set_img_size(changed, options.img_size)
            width = fitted_width(changed, options.macs, image_size(changed))
            widths[each.backbone] = width.factor
            say(f'{each.backbone}: widen_factor={width.factor:.4g}, {width.multiply_adds / 1e9:.3g} G multiply-adds')
        found.append(widened(each, widths[each.backbone]))
    return found
