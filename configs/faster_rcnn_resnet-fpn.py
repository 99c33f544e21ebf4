# The old name of faster_rcnn_resnet50_fpn, for one release.
_base_ = ['faster_rcnn_resnet50_fpn.py']
_deprecation_ = dict(expected='faster_rcnn_resnet50_fpn')
