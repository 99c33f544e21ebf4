# YOLOv5s (v6.0 to v7.0) for COCO, from scratch, at 640 px: 7,235,389 parameters.
# Expected: 37.4 AP on val2017 (56.8 AP50), as YOLOv5 v7.0 reports; not yet reproduced here.
# Time: 300 epochs of 118,287 images, 64 images a step; 2 days on one V100 as published.
# Run:  python tools/train.py configs/yolov5_s.py --amp
_base_ = [
    '_base_/models/yolov5.py',
    '_base_/datasets/coco_yolo.py',
    '_base_/schedules/yolov5_300e.py',
    '_base_/default_runtime.py',
]
model = dict(
    backbone=dict(type='mmcnn.cspdarknet-s'),
    neck=dict(widen_factor=0.5, deepen_factor=0.33),
    bbox_head=dict(loss=dict(obj_gain=1.0, cls_gain=0.5)),
)
mosaic_affine = dict(_base_.mosaic_affine, scale=(0.5, 1.5))
train_pipeline = [mosaic_affine, _base_.random_hsv]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
