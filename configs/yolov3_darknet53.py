# YOLOv3 on Darknet-53 for COCO, MMDetection's recipe, sizes from 320 to 608 px; 61,949,149 parameters.
# Expected: 33.7 AP on val2017 at 608 px, as MMDetection 3.3 reports, from ImageNet weights; not yet reproduced here.
# Time: 273 epochs of 118,287 images, 64 images a step.
# Run:  python tools/train.py configs/yolov3_darknet53.py --amp
# Darknet's own start:  --cfg-options model.backbone.init_cfg.checkpoint=mmcnn://darknet53/darknet-conv74
# From scratch:  --cfg-options model.backbone.init_cfg=None model.backbone.norm_eval=False
_base_ = [
    '_base_/models/yolov3.py',
    '_base_/datasets/coco_yolov3.py',
    '_base_/schedules/yolov3_273e.py',
    '_base_/default_runtime.py',
]
model = dict(backbone=dict(norm_eval=True, init_cfg=dict(type='Pretrained', checkpoint='mmcnn://darknet53/mmdet')))
