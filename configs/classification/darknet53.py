# Darknet-53 (YOLOv3, arXiv 1804.02767) on ImageNet, from scratch.
# Expected: 77.2 top-1, the paper (Table 2, 256 px); not yet reproduced here.
# Time: 100 epochs of 1,281,167 images, 256 images a step on any number of GPUs (64 a GPU, less on more than 4).
# Run:  python tools/train.py configs/classification/darknet53.py --amp
_base_ = [
    '../_base_/models/classifier.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
    '../_base_/classification_runtime.py',
]
model = dict(backbone=dict(type='mmcnn.darknet53'))
optim_wrapper = dict(optimizer=dict(weight_decay=5e-4))
