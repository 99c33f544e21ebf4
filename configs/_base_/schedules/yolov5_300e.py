# SGD as YOLOv5 v7.0: 300 epochs, linear to a hundredth, 64 images a step, EMA; see yolo_300e.py.
_base_ = ['yolo_300e.py']

optim_wrapper = dict(clip_grad=dict(max_norm=10.0))
custom_hooks = [
    dict(type='mmcnn.ScheduleHook', schedule='linear', lr_final=0.01, warmup_epochs=3.0),
    dict(type='mmcnn.StepEMAHook'),
]
