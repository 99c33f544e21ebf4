# VGG-16 with BatchNorm (arXiv 1409.1556, D) on ImageNet, from scratch.
# Expected: 73.36 top-1, as torchvision publishes (vgg16_bn, IMAGENET1K_V1); not yet reproduced here.
# Time: 100 epochs of 1,281,167 images, 256 images a step on any number of GPUs (64 a GPU, less on more than 4).
# Run:  python tools/train.py configs/classification/vgg16-bn.py --amp
_base_ = [
    '../_base_/models/classifier.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
    '../_base_/classification_runtime.py',
]
model = dict(backbone=dict(type='mmcnn.vgg16-bn'))
optim_wrapper = dict(optimizer=dict(lr=0.01, weight_decay=5e-4))
