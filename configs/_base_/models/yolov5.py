# YOLOv5 v6.0 to v7.0: CSPDarknet, PAFPN of C3 layers, one 1x1 convolution a level without the 3x3 before it. Decoding,
# assignment and test are those of YOLOv4's recipe, which took them from YOLOv5; anchors and gains are its own.
_base_ = ['yolov4.py']
model = dict(
    backbone=dict(type='mmcnn.cspdarknet-l'),
    neck=dict(type='mmcnn.YOLOv5PAFPN'),
    bbox_head=dict(
        bridge=False,
        anchors=[
            [(10, 13), (16, 30), (33, 23)],
            [(30, 61), (62, 45), (59, 119)],
            [(116, 90), (156, 198), (373, 326)],
        ],
        loss=dict(obj_gain=0.7, obj_by_area=True),
    ),
)
