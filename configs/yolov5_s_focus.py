# YOLOv5s as of v4.0 and v5.0, on its Focus trunk: 7,276,605 parameters; the recipe is YOLOv5s's of v7.0.
# Expected: 36.7 AP on val2017 (55.4 AP50), as YOLOv5 v5.0 reports with its own recipe; not yet reproduced here.
# Time: 300 epochs of 118,287 images.
# Run:  python tools/train.py configs/yolov5_s_focus.py --amp
_base_ = ['yolov5_s.py']
model = dict(backbone=dict(type='mmcnn.cspdarknet-focus-s'))
