"""Puts a backbone of mmcnn into a config of MMDetection, and trains with MMDetection's and MMEngine's own Runner.

    python examples/swap_in_mmdetection.py
    python examples/swap_in_mmdetection.py --config mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco --backbone vovnet39 \
        --ann train.json --images IMAGES

Without --ann it trains two steps on a data set that it draws.
"""

import argparse
import json
from pathlib import Path

from mmengine.runner import Runner

import mmcnn

parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
parser.add_argument('--config', default='mmdet::retinanet/retinanet_r50_fpn_1x_coco')
parser.add_argument('--backbone', default='mobilenetv2')
parser.add_argument('--ann', type=Path, help='COCO annotations')
parser.add_argument('--images', type=Path, help='folder of their images')
parser.add_argument('--scale', type=int, default=800, help='longer side of the images, pixels')
parser.add_argument('--iterations', type=int, default=2)
parser.add_argument('--work-dir', default='work_dirs/swapped')
args = parser.parse_args()

cfg = mmcnn.swap_backbone(args.config, args.backbone)  # prints what it changes: channels, strides, image format, ...
if args.ann is None:
    folder = mmcnn.check_data('demo').root
    args.ann, args.images = folder / 'train.json', folder / 'images'
classes = [category['name'] for category in json.loads(args.ann.read_text())['categories']]
for head in (cfg.model.get('bbox_head'), (cfg.model.get('roi_head') or {}).get('bbox_head')):
    if head is not None:
        head.num_classes = len(classes)
cfg.train_dataloader.dataset.update(
    data_root='', ann_file=str(args.ann), data_prefix=dict(img=str(args.images)), metainfo=dict(classes=classes)
)
cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
for step in cfg.train_dataloader.dataset.pipeline:
    if step['type'] == 'Resize':
        step['scale'] = (args.scale, args.scale)
# A short training without a validation; leave these lines out for MMDetection's schedule on COCO.
cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=args.iterations)
cfg.param_scheduler = []
for name in ('val_cfg', 'val_dataloader', 'val_evaluator', 'test_cfg', 'test_dataloader', 'test_evaluator'):
    cfg[name] = None
cfg.default_hooks.logger.interval = 1
cfg.work_dir = args.work_dir

runner = Runner.from_cfg(cfg)
runner.train()
backbone = runner.model.backbone
print(f'{args.backbone}: channels {backbone.out_channels}, strides {backbone.out_strides}, {runner.iter} steps trained')
