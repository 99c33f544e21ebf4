# COCO 2017 with YOLOv5's augmentation: mosaic of four, affine, HSV, flip; a rectangular letterbox to test.
# Another mosaic:  train_pipeline = [dict(_base_.mosaic_affine, ...), _base_.random_hsv]
img_scale = (640, 640)  # width, height
data_root = 'data/coco/'

mosaic_affine = dict(
    type='mmcnn.MosaicAffine',
    img_scale=img_scale,
    mosaic_prob=1.0,
    mixup_prob=0.0,
    scale=(0.1, 1.9),
    translate=0.1,
    flip_prob=0.5,
)
random_hsv = dict(type='mmcnn.RandomHSV', hue_gain=0.015, saturation_gain=0.7, value_gain=0.4)
train_pipeline = [mosaic_affine, random_hsv]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmcnn.LetterBox', img_scale=img_scale),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'pad_param'),
    ),
]

train_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='mmcnn.MosaicDataset',
        dataset=dict(
            type='CocoDataset',
            data_root=data_root,
            ann_file='annotations/instances_train2017.json',
            data_prefix=dict(img='train2017/'),
            filter_cfg=dict(filter_empty_gt=False),
        ),
        pipeline=train_pipeline,
        cache_gb=None,  # decoded images in memory, shared between the workers; None: all images of a small set
        device_augmentation=False,  # True: the GPU draws the mosaics
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmcnn.CocoMetric', ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator
