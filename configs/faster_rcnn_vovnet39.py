# Faster R-CNN on VoVNet-39 with FPN for COCO, the 1x schedule, from scratch.
# Expected: nothing is published for this schedule without ImageNet weights; no run here.
# Time: 12 epochs of 118,287 images; without ImageNet weights it wants many more.
# Run:  python tools/train.py configs/faster_rcnn_vovnet39.py --amp
_base_ = ['faster_rcnn_resnet50_fpn.py']
model = dict(backbone=dict(_delete_=True, type='mmcnn.vovnet39', out_indices=(2, 3, 4, 5)))
