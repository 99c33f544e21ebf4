# Inception v3 (arXiv 1512.00567) on ImageNet, from scratch.
# Expected: 77.9 top-1, as Keras publishes; 77.29 torchvision (inception_v3, IMAGENET1K_V1: row inceptionv3-tv); not
# yet reproduced here.
# Time: 100 epochs of 1,281,167 images, 256 images a step on any number of GPUs (64 a GPU, less on more than 4).
# Run:  python tools/train.py configs/classification/inceptionv3.py --amp
_base_ = [
    '../_base_/models/classifier.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
    '../_base_/classification_runtime.py',
]
model = dict(backbone=dict(type='mmcnn.inceptionv3'))
