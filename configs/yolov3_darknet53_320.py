# YOLOv3 on Darknet-53 for COCO at 320 px; see yolov3_darknet53.py.
# Expected: 27.9 AP on val2017, as MMDetection 3.3 reports from ImageNet weights; no COCO run so far.
# Time: 273 epochs of 118,287 images.
# Run:  python tools/train.py configs/yolov3_darknet53_320.py --amp
_base_ = ['yolov3_darknet53.py']
resize = dict(type='Resize', scale=(320, 320), keep_ratio=True)
train_pipeline = [*_base_.before_train_resize, resize, *_base_.after_train_resize]
test_pipeline = [*_base_.before_test_resize, resize, *_base_.after_test_resize]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
