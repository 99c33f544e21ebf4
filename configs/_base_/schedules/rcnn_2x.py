# MMDetection's 2x: 24 epochs, a tenth after epochs 16 and 22; these are the same parts of the run as in 1x.
_base_ = ['rcnn_1x.py']
max_epochs = 24
train_cfg = dict(max_epochs=max_epochs)
schedule_hook = dict(_base_.schedule_hook, milestones=(16 / 24, 22 / 24))
custom_hooks = [schedule_hook]
