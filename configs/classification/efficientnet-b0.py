# EfficientNet-B0 (arXiv 1905.11946) on ImageNet, from scratch.
# Expected: 77.1 top-1, as Keras publishes; 77.69 torchvision (efficientnet_b0, IMAGENET1K_V1: row
# efficientnet-b0-tv); not yet reproduced here.
# Time: 300 epochs of 1,281,167 images, 256 images a step on any number of GPUs (64 a GPU, less on more than 4).
# Run:  python tools/train.py configs/classification/efficientnet-b0.py --amp
_base_ = [
    '../_base_/models/classifier.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_300e.py',
    '../_base_/classification_runtime.py',
]
model = dict(backbone=dict(type='mmcnn.efficientnet-b0'))
