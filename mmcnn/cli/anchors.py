"""Measures how well a config's anchors fit a data set, and proposes better ones.

Boxes are measured at the network's input, where the longer side of each image is --img-size. Without --data, the
config's own data are used. Images and boxes that the data check rejects are left out.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mmcnn.cli.arguments import add_options, options_from
from mmcnn.compat.moved import moved_names
from mmcnn.errors import UsageError
from mmcnn.runs.options import MAX_SEED, ImportOptions, Option, SplitOptions

__getattr__ = moved_names(__name__)


@dataclass(frozen=True, kw_only=True)
class AnchorOptions(SplitOptions, ImportOptions):
    """What to measure, and how long to search for better anchors."""

    data: Annotated[str | Path | None, Option('data folder, as for mmcnn train', 'demo|PATH')] = None
    config: Annotated[str, Option('config with the anchors to measure (default: yolov5_s)', 'CONFIG')] = 'yolov5_s'
    img_size: Annotated[int, Option('side of the network input in pixels (default: 640)', 'N', minimum=1)] = 640
    generations: Annotated[int, Option('mutations to try (default: 1000)', 'N', minimum=0)] = 1000
    seed: Annotated[int, Option('random seed (default: 0)', 'N', minimum=0, maximum=MAX_SEED)] = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmcnn anchors``."""
    add_options(parser, AnchorOptions)


def run(args: argparse.Namespace) -> int:
    """Measure the anchors and propose better ones."""
    options = options_from(args, AnchorOptions)

    from mmcnn.config.load import load_config
    from mmcnn.datasets.anchors import anchors_of, as_config, best_possible_recall, propose_anchors
    from mmcnn.runs.anchors import train_box_sizes
    from mmcnn.runs.data import set_data
    from mmcnn.runs.data_sets import inner_dataset
    from mmcnn.runs.drawn_split import draw_of
    from mmcnn.weights.own_modules import import_modules

    import_modules(options.imports)
    cfg = load_config(options.config)
    present = anchors_of(cfg.model)
    if present is None:
        raise UsageError(f'{options.config} has no anchors with fixed sizes')
    set_data(cfg, options.data, skip_bad=options.data not in (None, 'demo'), draw=draw_of(options))
    sizes = train_box_sizes(cfg, options.img_size)
    print(f'{len(sizes)} boxes in {inner_dataset(cfg.train_dataloader).data_root} at {options.img_size} px')
    print(f'{options.config}: best possible recall {best_possible_recall(sizes, present):.4f}')
    proposed = propose_anchors(sizes, len(present), len(present[0]), generations=options.generations, seed=options.seed)
    print(f'proposed:  best possible recall {best_possible_recall(sizes, proposed):.4f}')
    print(as_config(cfg.model, proposed))
    return 0
