# MobileNetV3-Large (arXiv 1905.02244) on ImageNet, from scratch.
# Expected: 74.04 top-1, as torchvision publishes (mobilenet_v3_large, IMAGENET1K_V1: row mobilenetv3-large-tv); not
# yet reproduced here.
# Time: 300 epochs of 1,281,167 images, 256 images a step on any number of GPUs (64 a GPU, less on more than 4).
# Run:  python tools/train.py configs/classification/mobilenetv3-large.py --amp
_base_ = [
    '../_base_/models/classifier.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_300e.py',
    '../_base_/classification_runtime.py',
]
model = dict(backbone=dict(type='mmcnn.mobilenetv3-large'))
