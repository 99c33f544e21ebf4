# MobileNet (arXiv 1704.04861) on ImageNet, from scratch.
# Expected: 70.4 top-1, as Keras publishes (MobileNet, width 1.0); not yet reproduced here.
# Time: 300 epochs of 1,281,167 images, 256 images a step on any number of GPUs (64 a GPU, less on more than 4).
# Run:  python tools/train.py configs/classification/mobilenet.py --amp
_base_ = [
    '../_base_/models/classifier.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_300e.py',
    '../_base_/classification_runtime.py',
]
model = dict(backbone=dict(type='mmcnn.mobilenet'))
