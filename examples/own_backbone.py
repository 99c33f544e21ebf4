"""Trains a YOLOv5 on a backbone of your own, and loads its checkpoint again.

    python examples/own_backbone.py
    mmcnn train yolov5_n --backbone mmdet.PlainNet --import own_backbone --data PATH    # from the folder of this file

Any module that maps images (N, 3, H, W) to a tuple of maps, fine to coarse, is a backbone. The neck and the head get
its channels and strides.
"""

import argparse

from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

import mmcnn


@MODELS.register_module(force=True)  # as a script, this file is imported once more by its own name
class PlainNet(BaseModule):
    """Strided convolutions; maps of strides 8, 16 and 32."""

    def __init__(self, channels=(16, 32, 64, 96, 128), init_cfg=None):
        super().__init__(init_cfg)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU())
            for i, o in zip((3, *channels), channels, strict=False)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = [x := stage(x) for stage in self.stages]
        return tuple(maps[2:])


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--data', default='demo', help='a folder in COCO, YOLO or VOC layout')
    parser.add_argument('--epochs', type=int, default=5)
    parser.add_argument('--img-size', type=int, default=128, help='pixels')
    parser.add_argument('--work-dir', help='folder for the checkpoints')
    args = parser.parse_args()
    result = mmcnn.train(
        'yolov5_n', backbone='mmdet.PlainNet', imports=['own_backbone'], data=args.data, epochs=args.epochs,
        img_size=args.img_size, work_dir=args.work_dir,
    )  # fmt: skip
    # A checkpoint never imports code by itself: name the module here, too.
    backbone = mmcnn.Detector(result.best, imports=['own_backbone']).model.backbone
    total, _ = mmcnn.count_parameters(backbone)
    print(f'{type(backbone).__name__} has {total:,} parameters after fusing BatchNorm into the convolutions')
    print(f'{result.best}: AP50 {result.metrics["AP50"]:.3f}')
