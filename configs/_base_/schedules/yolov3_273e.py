# SGD as MMDetection's YOLOv3: 273 epochs of batches of 64 (8 GPUs x 8), a tenth after epochs 218 and 246.
# Its losses are sums over the images of a GPU: 8 images a GPU belong to this rate. On fewer GPUs accumulate
# (accumulative_counts 8 on one), which keeps both the rate and the 64 images a step; tools/train.py does so.
max_epochs = 273
nominal_batch_size = 64

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=7)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=2000),
    dict(type='MultiStepLR', by_epoch=True, milestones=[218, 246], gamma=0.1),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=5e-4),
    clip_grad=dict(max_norm=35.0),
)
