# YOLOv4 on cspdarknet53-focus (Focus stem, C3 layers, SPP); neck, head and recipe are YOLOv4's.
# Expected: nothing is published for this pair; no COCO run here.
# Time: as yolov4_cspdarknet53.py, 300 epochs of 118,287 images.
# Run:  python tools/train.py configs/yolov4_cspdarknet53-focus.py --amp
_base_ = ['yolov4_cspdarknet53.py']
model = dict(backbone=dict(type='mmcnn.cspdarknet53-focus'))
