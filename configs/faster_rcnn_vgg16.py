# Faster R-CNN on VGG-16 with FPN (levels 2 to 5) for COCO, the 1x schedule, from scratch.
# Expected: nothing is published for this form (the paper's VGG-16 has no FPN); no run here.
# Time: 12 epochs of 118,287 images; without ImageNet weights it wants many more.
# Run:  python tools/train.py configs/faster_rcnn_vgg16.py --amp
_base_ = ['faster_rcnn_resnet50_fpn.py']
model = dict(
    data_preprocessor=dict(mean=[103.939, 116.779, 123.68], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    backbone=dict(_delete_=True, type='mmcnn.vgg16', out_indices=(2, 3, 4, 5)),
)
