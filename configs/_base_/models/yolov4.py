# YOLOv4 (arXiv 2004.10934): the layer graph of the public yolov4.cfg, 64,363,101 trainable parameters with 80 classes.
# Decoding, assignment and loss after WongKinYiu's training of it; BatchNorm's eps is Darknet's 1e-5, not his 1e-4.
# Channels and strides are wired from the backbone.
model = dict(
    type='mmcnn.wired',
    detector='SingleStageDetector',
    data_preprocessor=dict(
        type='mmcnn.PlanPreprocessor',
        mean=[0.0, 0.0, 0.0],
        std=[255.0, 255.0, 255.0],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        pad_value=114 / 255,  # of the normalised image
    ),
    backbone=dict(type='mmcnn.cspdarknet53', out_indices=(3, 4, 5)),
    neck=dict(type='mmcnn.YOLOv4PAN'),
    bbox_head=dict(
        type='mmcnn.YOLOHead',
        num_classes=80,
        anchors=[
            [(12, 16), (19, 36), (40, 28)],
            [(36, 75), (76, 55), (72, 146)],
            [(142, 110), (192, 243), (459, 401)],
        ],
        bbox_coder=dict(type='mmcnn.YOLOGridCoder', scale_xy=2.0, size='sigmoid'),
        loss=dict(type='mmcnn.YOLOMeanLoss', box_gain=0.05, obj_gain=0.6, cls_gain=0.3, level_balance=(4.0, 1.0, 0.4)),
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
