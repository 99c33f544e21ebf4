# YOLOv3 (arXiv 1804.02767) as MMDetection has it: its neck, head, assigner and losses on our Darknet-53; 61,949,149
# parameters with 80 classes. Channels and strides are wired from the backbone.
model = dict(
    type='mmcnn.wired',
    detector='YOLOV3',
    data_preprocessor=dict(
        type='mmcnn.DetDataPreprocessor',
        mean=[0.0, 0.0, 0.0],
        std=[255.0, 255.0, 255.0],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(type='mmcnn.darknet53', out_indices=(3, 4, 5)),
    neck=dict(type='YOLOV3Neck', num_scales=3, out_channels=[512, 256, 128]),  # coarse to fine, as the head's
    bbox_head=dict(
        type='mmcnn.YOLOV3Head',
        num_classes=80,
        out_channels=[1024, 512, 256],
        anchor_generator=dict(
            type='YOLOAnchorGenerator',
            base_sizes=[
                [(116, 90), (156, 198), (373, 326)],
                [(30, 61), (62, 45), (59, 119)],
                [(10, 13), (16, 30), (33, 23)],
            ],
        ),
        bbox_coder=dict(type='YOLOBBoxCoder'),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0, reduction='sum'),
        loss_conf=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0, reduction='sum'),
        loss_xy=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=2.0, reduction='sum'),
        loss_wh=dict(type='MSELoss', loss_weight=2.0, reduction='sum'),
    ),
    train_cfg=dict(assigner=dict(type='mmcnn.GridAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0)),
    test_cfg=dict(
        nms_pre=1000,
        min_bbox_size=0,
        score_thr=0.05,
        conf_thr=0.005,
        nms=dict(type='nms', iou_threshold=0.45),
        max_per_img=100,
    ),
)
