# Faster R-CNN on the plain fpn trunk of the reference table (levels 2 to 4, strides 32 and 64 by max-pools), 1x.
# Expected: nothing is published for this trunk; no run here.
# Time: 12 epochs of 118,287 images, from scratch.
# Run:  python tools/train.py configs/faster_rcnn_fpn.py --amp
_base_ = ['faster_rcnn_resnet50_fpn.py']
model = dict(
    backbone=dict(_delete_=True, type='mmcnn.fpn', out_indices=(2, 3, 4)),
    neck=dict(_delete_=True, type='mmcnn.ExtraMaxPools', num_outs=5),
)
