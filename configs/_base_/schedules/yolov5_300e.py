# SGD as YOLOv5 v7.0: 300 epochs, linear to a hundredth, 64 images a step, EMA; see yolo_300e.py.
_base_ = ['yolo_300e.py']

optim_wrapper = dict(clip_grad=dict(max_norm=10.0))
schedule_hook = dict(_base_.schedule_hook, schedule='linear', lr_final=0.01)
custom_hooks = [schedule_hook, _base_.ema_hook]
