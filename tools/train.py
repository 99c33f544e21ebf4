"""Trains a detector or a classifier: python tools/train.py CONFIG [--data demo|PATH] ...

CONFIG is a path, or the name of a config that comes with mmcnn. A config is a program: loading one runs it.
"""

import argparse

from mmcnn import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    cli.add_common_arguments(parser)
    parser.add_argument('--epochs', type=int, metavar='N')
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='of weights, order and augmentation (0)')
    parser.add_argument('--amp', action='store_true', help='mixed precision, on a GPU')
    parser.add_argument(
        '--resume', nargs='?', const='auto', metavar='FILE', help='go on from a checkpoint (the last in the work dir)'
    )
    parser.add_argument(
        '--allow-head-mismatch',
        action='store_true',
        help='load_from may hold a head for another number of classes, which then starts anew',
    )
    parser.add_argument(
        '--on-nan',
        choices=['stop', 'skip'],
        help='where loss or gradient is not finite: stop (default), or skip the batch',
    )
    parser.add_argument('--cache-gb', type=float, metavar='G', help='memory for decoded images, 10^9 bytes (0: none)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cli.at_least(1, args, 'epochs', 'batch_size')
    cli.at_least(0, args, 'workers', 'seed', 'cache_gb')
    cli.use_device(args.device)
    cfg = cli.load_config(args.config, cli.options_of(args))
    cfg.work_dir = cli.default_work_dir(cfg, args.work_dir)
    folder = cli.set_data(cfg, args.data, skip_bad=args.skip_bad)
    cli.set_img_size(cfg, args.img_size)
    if args.epochs is not None:
        cfg.train_cfg.max_epochs = args.epochs
        cfg.train_cfg.val_interval = max(1, args.epochs // 10)
    cli.set_batches(cfg, args, folder.num_train if folder else None)
    cli.set_amp(cfg, args.amp)
    cli.set_on_nan(cfg, args.on_nan)
    cfg.randomness = dict(seed=args.seed)
    cfg.launcher = args.launcher
    cli.merge_options(cfg, cli.options_of(args))  # what is typed wins over what was worked out
    cli.set_cache(cfg, args.cache_gb)
    cli.wire_model(cfg)
    cli.check_classes(cfg)
    cli.check_initial_weights(cfg, args.resume)
    if args.data:
        cli.warn_of_anchors(cfg, args.data)

    from mmcnn.engine.training import train

    train(cfg, cli.describe_batches(cfg, args.launcher), args.allow_head_mismatch)


if __name__ == '__main__':
    with cli.friendly_errors():
        main()
