# CSPDarknet-53 with a Focus stem (YOLOv5 v4 and v5) on ImageNet, from scratch.
# Expected: none published for this form; not yet reproduced here.
# Time: 100 epochs of 1,281,167 images, 256 images a step on any number of GPUs (64 a GPU, less on more than 4).
# Run:  python tools/train.py configs/classification/cspdarknet53-focus.py --amp
_base_ = [
    '../_base_/models/classifier.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
    '../_base_/classification_runtime.py',
]
model = dict(backbone=dict(type='mmcnn.cspdarknet53-focus'))
optim_wrapper = dict(optimizer=dict(weight_decay=5e-4))
