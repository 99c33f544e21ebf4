# Faster R-CNN on ResNet-50 with FPN for COCO, MMDetection's 1x recipe; 41,753,056 parameters.
# Expected: 37.4 AP on val2017 (58.1 AP50), as MMDetection 3.3 reports, from torchvision's weights; no run here.
# Time: 12 epochs of 118,287 images, 16 images a step.
# Run:  python tools/train.py configs/faster_rcnn_resnet50_fpn.py --amp
_base_ = [
    '_base_/models/faster_rcnn.py',
    '_base_/datasets/coco_rcnn.py',
    '_base_/schedules/rcnn_1x.py',
    '_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        frozen_stages=2,  # the stem and layer1, as MMDetection's frozen_stages=1
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='mmcnn://resnet50-tv/torchvision-v1'),
    )
)
