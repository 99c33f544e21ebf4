# YOLOv3 on Darknet-53 for COCO, MMDetection's recipe, sizes from 320 to 608 px; 61,949,149 parameters.
# Expected: 33.7 AP on val2017 at 608 px, as MMDetection 3.3 reports, from ImageNet weights of Darknet-53 with BatchNorm
# frozen: model.backbone.norm_eval=True model.backbone.init_cfg.type=Pretrained model.backbone.init_cfg.checkpoint=FILE.
# Without weights it trains from scratch, as it stands here; no COCO run so far.
# Time: 273 epochs of 118,287 images, 64 images a step.
# Run:  python tools/train.py configs/yolov3_darknet53.py --amp
_base_ = [
    '_base_/models/yolov3.py',
    '_base_/datasets/coco_yolov3.py',
    '_base_/schedules/yolov3_273e.py',
    '_base_/default_runtime.py',
]
