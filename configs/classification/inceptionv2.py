# Inception v2 (BN-Inception, arXiv 1502.03167) on ImageNet, from scratch.
# Expected: none published for this form; not yet reproduced here.
# Time: 100 epochs of 1,281,167 images, 256 images a step on any number of GPUs (64 a GPU, less on more than 4).
# Run:  python tools/train.py configs/classification/inceptionv2.py --amp
_base_ = [
    '../_base_/models/classifier.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
    '../_base_/classification_runtime.py',
]
model = dict(backbone=dict(type='mmcnn.inceptionv2'))
