# COCO 2017 as MMDetection's Faster R-CNN: short side 800, long side at most 1333 px, flip.
_base_ = ['coco_yolov3.py']
img_scale = (1333, 800)  # the longer and the shorter side

resize = dict(type='Resize', scale=img_scale, keep_ratio=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    resize,
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [*_base_.before_test_resize, resize, *_base_.after_test_resize]
train_dataloader = dict(batch_size=2, num_workers=2, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=1, num_workers=2, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
