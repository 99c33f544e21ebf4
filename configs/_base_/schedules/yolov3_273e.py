# SGD as MMDetection's YOLOv3: 273 epochs of batches of 64 (8 GPUs x 8), a tenth after epochs 218 and 246.
# Its losses are sums over the images of a GPU, and 8 of them belong to this rate. tools/train.py accumulates to 64
# images and keeps the rate true to both numbers (scale_lr, summed_batch_size), decay and clipping to the second.
max_epochs = 273
nominal_batch_size = 64
scale_lr = True
summed_batch_size = 8

train_cfg = dict(type='mmcnn.ResumableTrainLoop', max_epochs=max_epochs, val_interval=7)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = None  # mmcnn.ScheduleHook sets the rate: it follows the length of the run, --epochs too
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=5e-4),
    clip_grad=dict(max_norm=35.0),
    accumulative_counts=8,
)
schedule_hook = dict(
    type='mmcnn.ScheduleHook',
    schedule='step',
    milestones=(218 / 273, 246 / 273),
    gamma=0.1,
    warmup_epochs=0.0,
    warmup_min_iters=2000,
    warmup_in_steps=True,
    warmup_start=0.1,
    warmup_bias_lr=None,
    warmup_momentum=None,
)
custom_hooks = [schedule_hook]
