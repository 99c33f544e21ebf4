# Faster R-CNN on ResNet-50 with FPN for COCO, MMDetection's 2x recipe; see faster_rcnn_resnet50_fpn.py.
# Expected: 38.4 AP on val2017, as MMDetection 3.3 reports, from torchvision's ImageNet weights; no run here.
# Time: 24 epochs of 118,287 images, 16 images a step.
# Run:  python tools/train.py configs/faster_rcnn_resnet50_fpn_2x.py --amp
_base_ = [
    '_base_/models/faster_rcnn.py',
    '_base_/datasets/coco_rcnn.py',
    '_base_/schedules/rcnn_2x.py',
    '_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        frozen_stages=2,
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='mmcnn://resnet50-tv/torchvision-v1'),
    )
)
