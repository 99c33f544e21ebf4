# SGD as MMDetection's 1x: 12 epochs of batches of 16 (8 GPUs x 2), rate 0.02, a tenth after epochs 8 and 11.
# tools/train.py accumulates to 16 images, and lowers the rate with their number where a small data set gets fewer.
max_epochs = 12
nominal_batch_size = 16
scale_lr = True

train_cfg = dict(type='mmcnn.ResumableTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = None  # mmcnn.ScheduleHook sets the rate: it follows the length of the run, --epochs too
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4),
    accumulative_counts=8,
)
schedule_hook = dict(
    type='mmcnn.ScheduleHook',
    schedule='step',
    milestones=(8 / 12, 11 / 12),
    gamma=0.1,
    warmup_epochs=0.0,
    warmup_min_iters=500,
    warmup_in_steps=True,
    warmup_start=0.001,
    warmup_bias_lr=None,
    warmup_momentum=None,
)
custom_hooks = [schedule_hook]
