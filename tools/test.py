"""Evaluates a checkpoint: python tools/test.py [CONFIG] CHECKPOINT [--data demo|PATH] ...

Prints and stores (metrics.json in the work dir) the 12 COCO numbers and the AP of every class, of a classifier top-1
and top-5. Without CONFIG, config, backbone and classes come from the checkpoint; with one, CHECKPOINT may be a file of
weights of any kind that fits (yolov4.weights, .safetensors, ...).
"""

import argparse

from mmcnn import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?')
    parser.add_argument('checkpoint')
    cli.add_common_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cli.at_least(1, args, 'batch_size')
    cli.at_least(0, args, 'workers')
    cli.use_device(args.device)
    cfg, checkpoint = cli.config_and_checkpoint(args.config, args.checkpoint, cli.options_of(args))
    cfg.work_dir = cli.default_work_dir(cfg, args.work_dir)
    cli.set_data(cfg, args.data, checkpoint, args.skip_bad)
    cli.set_img_size(cfg, args.img_size)
    cli.set_batches(cfg, args, None)
    cfg.launcher = args.launcher
    cli.merge_options(cfg, cli.options_of(args))
    cli.wire_model(cfg)

    from mmcnn.engine.training import test

    test(cfg, args.checkpoint)


if __name__ == '__main__':
    with cli.friendly_errors():
        main()
