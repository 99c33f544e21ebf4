"""How well a config's anchors fit a data set, and better ones: python tools/anchors.py --data demo|PATH ...

The boxes are taken at the network's input: each image's longer side scaled to --img-size. Without --data they are those
of the config's own data; what is at fault in the data of --data is left out.
"""

import argparse

from mmcnn import cli
from mmcnn.datasets.anchors import anchors_of, as_config, best_possible_recall, propose_anchors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', metavar='demo|PATH', help='a data folder, as of tools/train.py')
    parser.add_argument('--config', default='yolov5_s', help='whose anchors (yolov5_s)')
    parser.add_argument('--img-size', type=int, default=640, metavar='N', help='side of the network input (640)')
    parser.add_argument('--generations', type=int, default=1000, metavar='N', help='mutations tried (1000)')
    parser.add_argument('--seed', type=int, default=0, metavar='N')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cli.at_least(1, args, 'img_size')
    cli.at_least(0, args, 'generations', 'seed')
    cfg = cli.load_config(args.config)
    present = anchors_of(cfg.model)
    if present is None:
        raise cli.UsageError(f'{args.config} has no anchors of fixed sizes')
    cli.set_data(cfg, args.data, skip_bad=args.data not in (None, 'demo'))
    sizes = cli.train_box_sizes(cfg, args.img_size)
    print(f'{len(sizes)} boxes of {cli.inner_dataset(cfg.train_dataloader).data_root} at {args.img_size} px')
    print(f'{args.config}: best possible recall {best_possible_recall(sizes, present):.4f}')
    try:
        proposed = propose_anchors(sizes, len(present), len(present[0]), generations=args.generations, seed=args.seed)
    except ValueError as error:
        raise cli.UsageError(str(error)) from error
    print(f'proposed:  best possible recall {best_possible_recall(sizes, proposed):.4f}')
    print(as_config(cfg.model, proposed))


if __name__ == '__main__':
    with cli.friendly_errors():
        main()
