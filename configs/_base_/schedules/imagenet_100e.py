# SGD for ImageNet: 100 epochs, 5 of them warm-up, cosine to 0, 256 images a step on any number of GPUs.
# tools/train.py accumulates to nominal_batch_size and, where a small data set gets fewer images a step, lowers the
# rate with their number (scale_lr). MMDetection's own tools take both as they stand here.
max_epochs = 100
nominal_batch_size = 256
scale_lr = True

train_cfg = dict(type='mmcnn.ResumableTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = None  # mmcnn.ScheduleHook sets the rate: it follows the length of the run, --epochs too
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True),
    accumulative_counts=4,
)
schedule_hook = dict(
    type='mmcnn.ScheduleHook',
    schedule='cosine',
    lr_final=0.0,
    warmup_epochs=5.0,
    warmup_bias_lr=None,
    warmup_momentum=None,
)
custom_hooks = [schedule_hook]
