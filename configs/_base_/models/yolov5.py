# YOLOv5 v6.0 to v7.0: CSPDarknet, PAFPN of C3 layers, one 1x1 convolution a level; decoding, assignment and loss as
# YOLOv4's recipe has them (they come from here), with its own gains and without the 3x3 bridges in the head.
# Channels and strides are wired from the backbone.
model = dict(
    type='mmcnn.wired',
    detector='SingleStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[0.0, 0.0, 0.0],
        std=[255.0, 255.0, 255.0],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        pad_value=114 / 255,  # of the normalised image
    ),
    backbone=dict(type='mmcnn.cspdarknet-l', out_indices=(3, 4, 5)),
    neck=dict(type='mmcnn.YOLOv5PAFPN'),
    bbox_head=dict(
        type='mmcnn.YOLOHead',
        num_classes=80,
        bridge=False,
        anchors=[
            [(10, 13), (16, 30), (33, 23)],
            [(30, 61), (62, 45), (59, 119)],
            [(116, 90), (156, 198), (373, 326)],
        ],
        bbox_coder=dict(type='mmcnn.YOLOGridCoder', scale_xy=2.0, size='sigmoid'),
        loss=dict(
            type='mmcnn.YOLOMeanLoss',
            box_gain=0.05,
            obj_gain=0.7,
            cls_gain=0.3,
            level_balance=(4.0, 1.0, 0.4),
            obj_by_area=True,
        ),
    ),
    train_cfg=dict(assigner=dict(type='mmcnn.RatioAssigner', ratio=4.0, offset=0.5)),
    test_cfg=dict(
        score_thr=0.001,
        nms=dict(type='iou', iou_threshold=0.65),
        nms_pre=30000,
        max_per_img=300,
        multi_label=True,
    ),
)
