custom_hooks = [
    dict(
        lr_final=0.01,
        schedule='linear',
        type='mmcnn.ScheduleHook',
        warmup_epochs=3.0),
    dict(type='mmcnn.StepEMAHook'),
]
custom_imports = dict(
    allow_failed_imports=False, imports=[
        'mmcnn',
    ])
default_hooks = dict(
    bn_statistics=dict(type='mmcnn.BNStatisticsHook'),
    checkpoint=dict(
        interval=1,
        max_keep_ckpts=3,
        save_best='coco/bbox_mAP',
        type='mmcnn.AtomicCheckpointHook'),
    logger=dict(interval=50, type='LoggerHook'),
    param_scheduler=dict(type='ParamSchedulerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    timer=dict(type='IterTimerHook'),
    visualization=dict(type='DetVisualizationHook'))
default_scope = 'mmdet'
env_cfg = dict(
    dist_cfg=dict(backend='nccl'),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
launcher = 'none'
load_from = None
log_level = 'INFO'
log_processor = dict(by_epoch=True, type='LogProcessor', window_size=50)
model = dict(
    backbone=dict(
        out_indices=(
            3,
            4,
            5,
        ),
        type='mmcnn.cspdarknet-n',
        widen_factor=1.0234375),
    bbox_head=dict(
        anchors=[
            [
                (
                    10,
                    13,
                ),
                (
                    16,
                    30,
                ),
                (
                    33,
                    23,
                ),
            ],
            [
                (
                    30,
                    61,
                ),
                (
                    62,
                    45,
                ),
                (
                    59,
                    119,
                ),
            ],
            [
                (
                    116,
                    90,
                ),
                (
                    156,
                    198,
                ),
                (
                    373,
                    326,
                ),
            ],
        ],
        bbox_coder=dict(
            scale_xy=2.0, size='sigmoid', type='mmcnn.YOLOGridCoder'),
        bridge=False,
        in_channels=[
            64,
            128,
            256,
        ],
        loss=dict(
            box_gain=0.05,
            cls_gain=0.5,
            level_balance=(
                4.0,
                1.0,
                0.4,
            ),
            obj_by_area=True,
            obj_gain=1.0,
            type='mmcnn.YOLOMeanLoss'),
        num_classes=6,
        strides=[
            8,
            16,
            32,
        ],
        type='mmcnn.YOLOHead'),
    data_preprocessor=dict(
        bgr_to_rgb=True,
        mean=[
            0.0,
            0.0,
            0.0,
        ],
        pad_size_divisor=32,
        pad_value=0.4470588235294118,
        std=[
            255.0,
            255.0,
            255.0,
        ],
        type='mmcnn.PlanPreprocessor'),
    neck=dict(
        deepen_factor=0.33,
        in_channels=[
            72,
            136,
            264,
        ],
        type='mmcnn.YOLOv5PAFPN',
        widen_factor=0.25),
    test_cfg=dict(
        max_per_img=300,
        multi_label=True,
        nms=dict(iou_threshold=0.65, type='iou'),
        nms_pre=30000,
        score_thr=0.001),
    train_cfg=dict(
        assigner=dict(offset=0.5, ratio=4.0, type='mmcnn.RatioAssigner')),
    type='SingleStageDetector')
nominal_batch_size = 64
optim_wrapper = dict(
    accumulative_counts=1,
    clip_grad=dict(max_norm=10.0),
    constructor='mmcnn.YOLOOptimWrapperConstructor',
    optimizer=dict(
        lr=0.01,
        momentum=0.937,
        nesterov=True,
        type='SGD',
        weight_decay=0.0005),
    type='mmcnn.BFloat16OptimWrapper')
param_scheduler = None
performance = dict(
    channels_last=None,
    compile=False,
    cpu_amp=True,
    cudnn_benchmark=None,
    tf32=None,
    val_amp=False)
randomness = dict(seed=2)
resume = False
test_cfg = dict(type='TestLoop')
test_dataloader = dict(
    batch_size=8,
    dataset=dict(
        ann_file='val.json',
        data_prefix=dict(img='images/'),
        data_root='/data/deeppcb',
        metainfo=dict(
            classes=(
                'copper',
                'mousebite',
                'open',
                'pinhole',
                'short',
                'spur',
            )),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(img_scale=(
                256,
                256,
            ), type='mmcnn.LetterBox'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(
                meta_keys=(
                    'img_id',
                    'img_path',
                    'ori_shape',
                    'img_shape',
                    'scale_factor',
                    'pad_param',
                ),
                type='PackDetInputs'),
        ],
        test_mode=True,
        type='CocoDataset'),
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
test_evaluator = dict(
    ann_file='/data/deeppcb/val.json', type='mmcnn.CocoMetric')
train_cfg = dict(
    max_epochs=10, type='mmcnn.ResumableTrainLoop', val_interval=1)
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        cache_gb=2.0,
        dataset=dict(
            ann_file='train.json',
            data_prefix=dict(img='images/'),
            data_root='/data/deeppcb',
            filter_cfg=dict(filter_empty_gt=False),
            metainfo=dict(
                classes=(
                    'copper',
                    'mousebite',
                    'open',
                    'pinhole',
                    'short',
                    'spur',
                )),
            type='CocoDataset'),
        device_augmentation=False,
        pipeline=[
            dict(
                flip_prob=0.5,
                img_scale=(
                    256,
                    256,
                ),
                mixup_prob=0.0,
                mosaic_prob=1.0,
                scale=(
                    0.5,
                    1.5,
                ),
                translate=0.1,
                type='mmcnn.MosaicAffine'),
            dict(
                hue_gain=0.015,
                saturation_gain=0.7,
                type='mmcnn.RandomHSV',
                value_gain=0.4),
        ],
        type='mmcnn.MosaicDataset'),
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    sampler=dict(shuffle=True, type='DefaultSampler'))
val_cfg = dict(type='ValLoop')
val_dataloader = dict(
    batch_size=8,
    dataset=dict(
        ann_file='val.json',
        data_prefix=dict(img='images/'),
        data_root='/data/deeppcb',
        metainfo=dict(
            classes=(
                'copper',
                'mousebite',
                'open',
                'pinhole',
                'short',
                'spur',
            )),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(img_scale=(
                256,
                256,
            ), type='mmcnn.LetterBox'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(
                meta_keys=(
                    'img_id',
                    'img_path',
                    'ori_shape',
                    'img_shape',
                    'scale_factor',
                    'pad_param',
                ),
                type='PackDetInputs'),
        ],
        test_mode=True,
        type='CocoDataset'),
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
val_evaluator = dict(
    ann_file='/data/deeppcb/val.json',
    detections_file='docs/atlas/deeppcb/cspdarknet-n/seed_2/detections.npz',
    type='mmcnn.CocoMetric')
vis_backends = [
    dict(type='LocalVisBackend'),
    dict(type='TensorboardVisBackend'),
]
visualizer = dict(
    name='visualizer',
    type='DetLocalVisualizer',
    vis_backends=[
        dict(type='LocalVisBackend'),
        dict(type='TensorboardVisBackend'),
    ])
work_dir = 'docs/atlas/deeppcb/cspdarknet-n/seed_2'
