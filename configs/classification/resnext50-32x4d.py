# ResNeXt-50, 32 paths of 4 (arXiv 1611.05431) on ImageNet, from scratch.
# Expected: 77.62 top-1, as torchvision publishes (resnext50_32x4d, IMAGENET1K_V1); not yet reproduced here.
# Time: 100 epochs of 1,281,167 images, 256 images a step on any number of GPUs (64 a GPU, less on more than 4).
# Run:  python tools/train.py configs/classification/resnext50-32x4d.py --amp
_base_ = [
    '../_base_/models/classifier.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
    '../_base_/classification_runtime.py',
]
model = dict(backbone=dict(type='mmcnn.resnext50-32x4d'))
