# ImageNet-1k with GoogLeNet's augmentation: a random part of the image, flip; the middle to test.
# tools/train.py and tools/test.py put the size that the backbone's row names where img_scale is None.
data_root = 'data/imagenet/'
img_scale = None  # width, height

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmcnn.RandomResizedCrop', img_scale=img_scale),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmcnn.PackClassifierInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmcnn.ResizedCenterCrop', img_scale=img_scale),
    dict(type='mmcnn.PackClassifierInputs'),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='mmcnn.ClassFolder', data_root=data_root, data_prefix=dict(img='train/'), pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmcnn.ClassFolder',
        data_root=data_root,
        data_prefix=dict(img='val/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmcnn.TopK', topk=(1, 5))
test_evaluator = val_evaluator
