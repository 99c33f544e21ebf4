# YOLOv5m (v6.0 to v7.0) for COCO, from scratch, at 640 px: 21,190,557 parameters; the recipe is YOLOv5l's.
# Expected: 45.4 AP on val2017 (64.1 AP50), as YOLOv5 v7.0 reports; not yet reproduced here.
# Time: 300 epochs of 118,287 images; 4 days on one V100 as published.
# Run:  python tools/train.py configs/yolov5_m.py --amp
_base_ = ['yolov5_l.py']
model = dict(backbone=dict(type='mmcnn.cspdarknet-m'), neck=dict(widen_factor=0.75, deepen_factor=0.67))
