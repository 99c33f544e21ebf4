# SGD as MMDetection's 1x: 12 epochs of batches of 16 (8 GPUs x 2), rate 0.02, a tenth after epochs 8 and 11.
# On another number of GPUs tools/train.py accumulates to 16 images a step.
max_epochs = 12
nominal_batch_size = 16

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=True, milestones=[8, 11], gamma=0.1),
]
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4))
