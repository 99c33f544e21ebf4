# MobileNetV2 (arXiv 1801.04381) on ImageNet, from scratch.
# Expected: 71.3 top-1, as Keras publishes; 71.88 torchvision (mobilenet_v2, IMAGENET1K_V1: row mobilenetv2-tv); not
# yet reproduced here.
# Time: 300 epochs of 1,281,167 images, 256 images a step on any number of GPUs (64 a GPU, less on more than 4).
# Run:  python tools/train.py configs/classification/mobilenetv2.py --amp
_base_ = [
    '../_base_/models/classifier.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_300e.py',
    '../_base_/classification_runtime.py',
]
model = dict(backbone=dict(type='mmcnn.mobilenetv2'))
