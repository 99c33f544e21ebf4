# YOLOv4 on CSPResNeXt-50; neck, head and recipe are YOLOv4's, the image format is the backbone's.
# Expected: 42.4 AP on test-dev at 512 px for Darknet's CSPResNeXt50-PANet-SPP (arXiv 2004.10934, Table 4); no run here.
# Time: as yolov4_cspdarknet53.py, 300 epochs of 118,287 images.
# Run:  python tools/train.py configs/yolov4_cspresnext50.py --amp
_base_ = ['yolov4_cspdarknet53.py']
model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], pad_value=0.0),
    backbone=dict(type='mmcnn.cspresnext50'),
)
