# YOLOv5n for small data: a few hundred photographs, tens of epochs, from scratch.
# Differs from yolov5_n.py: 8 images an iteration, a class gain that few classes need, objectness not scaled by the
# area, an average over tens of steps instead of thousands, the last 5 epochs without mosaic.
# Expected: nothing is published; bccd (292 photographs) in docs/benchmarks.md.
# Time: 30 epochs of bccd at 320 px take about 10 minutes on 2 cores.
# Run:  python tools/train.py configs/yolov5_n_small.py --data PATH --img-size 320 --epochs 30
_base_ = ['yolov5_n.py']
model = dict(bbox_head=dict(loss=dict(cls_gain=2.0, obj_by_area=False)))
train_dataloader = dict(batch_size=8)

optim_wrapper = dict(accumulative_counts=8)

ema_hook = dict(_base_.ema_hook, gamma=100, momentum=0.02)
custom_hooks = [_base_.schedule_hook, ema_hook, dict(type='mmcnn.CloseMosaicHook', epochs=5)]
