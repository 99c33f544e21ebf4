# YOLOv4 on CSPDarknet53 after Darknet's yolov4.cfg: its decoding, assignment, losses (autograd form), schedule, NMS.
# Expected: 43.5 AP on test-dev at 608 px as published for Darknet, from its ImageNet weights; not yet reproduced here.
# Differs from Darknet: box_gain (its 0.07 rests on gradients autograd does not have), clipping by norm, the prior of
# the biases, 608 px in training too, a letterbox instead of stretching, no ImageNet weights unless one asks for them:
#   --cfg-options model.backbone.init_cfg.type=Pretrained \
#   model.backbone.init_cfg.checkpoint=mmcnn://cspdarknet53/darknet-conv105
# Time: 271 epochs of 118,287 images.
# Run:  python tools/train.py configs/yolov4_cspdarknet53_darknet.py
_base_ = [
    '_base_/models/yolov4_darknet.py',
    '_base_/datasets/coco_darknet.py',
    '_base_/schedules/darknet_yolov4.py',
    '_base_/default_runtime.py',
]
