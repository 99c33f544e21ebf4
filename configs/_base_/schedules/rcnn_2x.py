# MMDetection's 2x: 24 epochs, a tenth after epochs 16 and 22.
_base_ = ['rcnn_1x.py']
max_epochs = 24

train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=True, milestones=[16, 22], gamma=0.1),
]
