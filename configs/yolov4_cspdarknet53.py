# YOLOv4 on CSPDarknet53 for COCO, from scratch, at 640 px.
# Expected: 49.7 AP on val2017 (68.2 AP50), as WongKinYiu reports for this graph and recipe; not yet reproduced here.
# Time: 300 epochs of 118,287 images, 64 images a step on any number of GPUs (16 a GPU, less on more than 4).
# Run:  python tools/train.py configs/yolov4_cspdarknet53.py --amp          (8 GPUs: tools/dist_train.sh CONFIG 8 --amp)
_base_ = [
    '_base_/models/yolov4.py',
    '_base_/datasets/coco_yolo.py',
    '_base_/schedules/yolo_300e.py',
    '_base_/default_runtime.py',
]
