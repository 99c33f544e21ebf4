"""Measures how well a config's anchors fit a data set, and proposes better ones.

Boxes are measured at the network's input, where the longer side of each image is --img-size. Without --data they are
those of the config's own data. What is at fault in the folder of --data is left out.
"""

from __future__ import annotations

import argparse

from mmcnn.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``mmcnn anchors``."""
    parser.add_argument('--data', metavar='demo|PATH', help='a data folder, as for mmcnn train')
    parser.add_argument('--config', default='yolov5_s', help='whose anchors are measured (default: yolov5_s)')
    parser.add_argument(
        '--img-size', type=int, default=640, metavar='N', help='side of the network input (default: 640)'
    )
    parser.add_argument('--generations', type=int, default=1000, metavar='N', help='mutations to try (default: 1000)')
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='random seed (default: 0)')


def run(args: argparse.Namespace) -> int:
    """Measures and proposes."""
    for name, minimum in (('img_size', 1), ('generations', 0), ('seed', 0)):
        if getattr(args, name) < minimum:
            raise UsageError(f'{name}={getattr(args, name)}: the value must be at least {minimum}')

    from mmcnn.datasets.anchors import anchors_of, as_config, best_possible_recall, propose_anchors
    from mmcnn.runs.anchors import train_box_sizes
    from mmcnn.runs.configs import load_config
    from mmcnn.runs.data import inner_dataset, set_data

    cfg = load_config(args.config)
    present = anchors_of(cfg.model)
    if present is None:
        raise UsageError(f'{args.config} has no anchors of fixed sizes')
    set_data(cfg, args.data, skip_bad=args.data not in (None, 'demo'))
    sizes = train_box_sizes(cfg, args.img_size)
    print(f'{len(sizes)} boxes of {inner_dataset(cfg.train_dataloader).data_root} at {args.img_size} px')
    print(f'{args.config}: best possible recall {best_possible_recall(sizes, present):.4f}')
    proposed = propose_anchors(sizes, len(present), len(present[0]), generations=args.generations, seed=args.seed)
    print(f'proposed:  best possible recall {best_possible_recall(sizes, proposed):.4f}')
    print(as_config(cfg.model, proposed))
    return 0
