# YOLOv4 on CSPDarknet53 at width 0.25 and depth 0.33: 2.9 M parameters with 80 classes, for small data.
# Augmentation and last learning rate as YOLOv5's for its small models; a class gain that suits few epochs.
# Expected: AP50 above 0.75 on the drawn demo set; bccd in docs/benchmarks.md; no COCO run so far.
# Time: on 2 cores 3 minutes for 30 epochs of the demo set (160 px), 13 for 30 epochs of bccd (292 images, 320 px).
# Run:  python tools/train.py configs/yolov4_cspdarknet53_narrow.py --data PATH --img-size 320 --epochs 30
_base_ = ['yolov4_cspdarknet53.py']
performance = dict(cpu_amp=True)
model = dict(widen_factor=0.25, deepen_factor=0.33, bbox_head=dict(loss=dict(cls_gain=2.0)))

mosaic_affine = dict(_base_.mosaic_affine, scale=(0.5, 1.5))
train_pipeline = [mosaic_affine, _base_.random_hsv]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

schedule_hook = dict(_base_.schedule_hook, lr_final=0.01)
custom_hooks = [schedule_hook, _base_.ema_hook]
