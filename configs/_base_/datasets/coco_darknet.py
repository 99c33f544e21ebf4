# COCO 2017 with Darknet's augmentation for YOLOv4: jitter without aspect, mosaic for half the images, HSV, flip.
_base_ = ['coco_yolo.py']
img_scale = (608, 608)  # width, height

mosaic_affine = random_hsv = None  # other transforms take their place
train_pipeline = [
    dict(type='mmcnn.DarknetMosaic', img_scale=img_scale, mosaic_prob=0.5, jitter=0.3, flip_prob=0.5),
    dict(type='mmcnn.DarknetHSV', hue=0.1, saturation=1.5, exposure=1.5),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmcnn.LetterBox', img_scale=img_scale, rect=False),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'pad_param'),
    ),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
