# YOLOv5l on cspdarknet53-focus, the reference table's Focus form of the trunk; the recipe is YOLOv5l's.
# Expected: about 48.2 AP on val2017, as YOLOv5 v5.0 reports for its own Focus trunk (blocks 3/9/9/3); no COCO run here.
# Time: 300 epochs of 118,287 images.
# Run:  python tools/train.py configs/yolov5_l_focus.py --amp
_base_ = ['yolov5_l.py']
model = dict(backbone=dict(type='mmcnn.cspdarknet53-focus'))
