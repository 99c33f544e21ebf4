# YOLOv5l (v6.0 to v7.0) for COCO, from scratch, at 640 px: 46,563,709 parameters.
# Expected: 49.0 AP on val2017 (67.3 AP50), as YOLOv5 v7.0 reports; not yet reproduced here.
# Differs: no copy-paste (a tenth of the images there), which needs masks.
# Time: 300 epochs of 118,287 images, 64 images a step; 6 days on one V100 as published.
# Run:  python tools/train.py configs/yolov5_l.py --amp
_base_ = [
    '_base_/models/yolov5.py',
    '_base_/datasets/coco_yolo.py',
    '_base_/schedules/yolov5_300e.py',
    '_base_/default_runtime.py',
]
mosaic_affine = dict(_base_.mosaic_affine, mixup_prob=0.1)
train_pipeline = [mosaic_affine, _base_.random_hsv]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

schedule_hook = dict(_base_.schedule_hook, lr_final=0.1)
custom_hooks = [schedule_hook, _base_.ema_hook]
