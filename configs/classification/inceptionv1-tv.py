# Inception v1 (GoogLeNet, arXiv 1409.4842) in torchvision's form with BatchNorm, on ImageNet, from scratch.
# Expected: 69.78 top-1, as torchvision publishes (googlenet, IMAGENET1K_V1); not yet reproduced here.
# Time: 100 epochs of 1,281,167 images, 256 images a step on any number of GPUs (64 a GPU, less on more than 4).
# Run:  python tools/train.py configs/classification/inceptionv1-tv.py --amp
_base_ = [
    '../_base_/models/classifier.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
    '../_base_/classification_runtime.py',
]
model = dict(backbone=dict(type='mmcnn.inceptionv1-tv'))
