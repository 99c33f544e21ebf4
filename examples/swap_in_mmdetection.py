"""Puts a backbone of mmcnn into a config of MMDetection, and trains with MMEngine's own Runner.

    python examples/swap_in_mmdetection.py
    python examples/swap_in_mmdetection.py --ann train.json --images IMAGES --scale 800 --iterations 5000

Without --ann it trains two steps on a data set that it draws.
"""

import argparse
import json
from pathlib import Path

from mmengine.runner import Runner

import mmcnn

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--config', default='mmdet::retinanet/retinanet_r50_fpn_1x_coco')
    parser.add_argument('--backbone', default='mobilenetv2', help='"mmcnn zoo" lists them')
    parser.add_argument('--ann', type=Path, help='COCO annotations')
    parser.add_argument('--images', type=Path, help='folder of their images')
    parser.add_argument('--scale', type=int, default=320, help='longer side of the images in pixels')
    parser.add_argument('--iterations', type=int, default=2)
    parser.add_argument('--work-dir', default='work_dirs/swapped')
    args = parser.parse_args()
    if args.ann is None:
        folder = mmcnn.check_data('demo').root
        args.ann, args.images = folder / 'train.json', folder / 'images'

    cfg = mmcnn.swap_backbone(args.config, args.backbone)  # prints what it changes: channels, strides, image format
    classes = [category['name'] for category in json.loads(args.ann.read_text())['categories']]
    (cfg.model.get('roi_head') or cfg.model).bbox_head.num_classes = len(classes)
    train = cfg.train_dataloader.dataset
    train.update(data_root='', ann_file=str(args.ann), data_prefix=dict(img=str(args.images)))
    train.metainfo = dict(classes=classes)
    next(step for step in train.pipeline if step.type == 'Resize').scale = (args.scale, args.scale)
    # A short training without validation; leave these lines out for the schedule of the config.
    cfg.train_cfg, cfg.param_scheduler = dict(type='IterBasedTrainLoop', max_iters=args.iterations), []
    cfg.update({f'{split}_{part}': None for split in ('val', 'test') for part in ('cfg', 'dataloader', 'evaluator')})
    cfg.work_dir, cfg.default_hooks.logger.interval = args.work_dir, 1

    runner = Runner.from_cfg(cfg)
    runner.train()
    net = runner.model.backbone
    print(f'{args.backbone}: channels {net.out_channels}, strides {net.out_strides}, {runner.iter} steps trained')
