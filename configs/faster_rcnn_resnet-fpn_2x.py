# The old name of faster_rcnn_resnet50_fpn_2x, for one release.
_base_ = ['faster_rcnn_resnet50_fpn_2x.py']
_deprecation_ = dict(expected='faster_rcnn_resnet50_fpn_2x')
