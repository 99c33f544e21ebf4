# YOLOv5n (v6.0 to v7.0) for COCO, from scratch, at 640 px: 1,872,157 parameters; the recipe is YOLOv5s's.
# Expected: 28.0 AP on val2017 (45.7 AP50), as YOLOv5 v7.0 reports; not yet reproduced here.
# Time: 300 epochs of 118,287 images; 1 day on one V100 as published.
# Run:  python tools/train.py configs/yolov5_n.py --amp
_base_ = ['yolov5_s.py']
performance = dict(cpu_amp=True)
model = dict(backbone=dict(type='mmcnn.cspdarknet-n'), neck=dict(widen_factor=0.25, deepen_factor=0.33))
