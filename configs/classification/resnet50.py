# ResNet-50 (arXiv 1512.03385) in Keras's form on ImageNet, from scratch.
# Expected: 74.9 top-1, as Keras publishes; 76.13 torchvision (resnet50, IMAGENET1K_V1: row resnet50-tv); not yet
# reproduced here.
# Time: 100 epochs of 1,281,167 images, 256 images a step on any number of GPUs (64 a GPU, less on more than 4).
# Run:  python tools/train.py configs/classification/resnet50.py --amp
_base_ = [
    '../_base_/models/classifier.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
    '../_base_/classification_runtime.py',
]
model = dict(backbone=dict(type='mmcnn.resnet50'))
