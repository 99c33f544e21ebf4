"""Minimal configs of wired detectors, without channel numbers."""

ANCHORS = [[(12, 16), (19, 36), (40, 28)], [(36, 75), (76, 55), (72, 146)], [(142, 110), (192, 243), (459, 401)]]


def yolov4(**changes):
    return dict(
        dict(
            type='mmcnn.wired',
            detector='SingleStageDetector',
            backbone=dict(type='mmcnn.cspdarknet53', out_indices=(3, 4, 5)),
            neck=dict(type='mmcnn.YOLOv4PAN'),
            bbox_head=dict(type='mmcnn.YOLOHead', num_classes=80, anchors=ANCHORS),
        ),
        **changes,
    )


def retinanet(**changes):
    head = dict(
        type='RetinaHead',
        num_classes=3,
        stacked_convs=1,
        feat_channels=16,
        anchor_generator=dict(
            type='AnchorGenerator', octave_base_scale=4, scales_per_octave=3, ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32, 64, 128],
        ),
    )  # fmt: skip
    return dict(
        dict(
            type='mmcnn.wired',
            detector='RetinaNet',
            backbone=dict(type='mmcnn.darknet53', out_indices=(3, 4, 5), widen_factor=0.25),
            neck=dict(type='FPN', out_channels=16, start_level=0, add_extra_convs='on_input', num_outs=5),
            bbox_head=head,
        ),
        **changes,
    )


def faster_rcnn(**changes):
    return dict(
        dict(
            type='mmcnn.wired',
            detector='FasterRCNN',
            backbone=dict(type='mmcnn.darknet53', widen_factor=0.25),
            neck=dict(type='FPN', out_channels=32, num_outs=5),
            rpn_head=dict(
                type='RPNHead',
                feat_channels=32,
                anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[1.0], strides=[4, 8, 16, 32, 64]),
            ),
            roi_head=dict(
                type='StandardRoIHead',
                bbox_roi_extractor=dict(
                    type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0)
                ),
                bbox_head=dict(type='Shared2FCBBoxHead', num_classes=3, fc_out_channels=32, roi_feat_size=7),
            ),
            train_cfg=dict(rpn=None, rpn_proposal=None, rcnn=None),
            test_cfg=dict(rpn=dict(), rcnn=dict()),
        ),
        **changes,
    )
