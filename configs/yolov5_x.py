# YOLOv5x (v6.0 to v7.0) for COCO, from scratch, at 640 px: 86,749,405 parameters; the recipe is YOLOv5l's.
# Expected: 50.7 AP on val2017 (68.9 AP50), as YOLOv5 v7.0 reports; not yet reproduced here.
# Time: 300 epochs of 118,287 images; 8 days on one V100 as published.
# Run:  python tools/train.py configs/yolov5_x.py --amp
_base_ = ['yolov5_l.py']
model = dict(backbone=dict(type='mmcnn.cspdarknet-x'), neck=dict(widen_factor=1.25, deepen_factor=1.33))
