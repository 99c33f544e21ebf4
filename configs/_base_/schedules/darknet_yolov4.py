# SGD as yolov4.cfg: 500,500 steps of 64 images (271 epochs of 118,287), burn-in of 1,000, a tenth at 400k and 450k.
# Darknet sums over an image and averages over the batch, and so does mmcnn.DarknetLoss. No EMA, no Nesterov.
max_epochs = 271
nominal_batch_size = 64

train_cfg = dict(type='mmcnn.ResumableTrainLoop', max_epochs=max_epochs, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = None  # mmcnn.ScheduleHook sets lr and momentum
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=1.3e-3, momentum=0.949, weight_decay=5e-4),
    constructor='mmcnn.YOLOOptimWrapperConstructor',
    clip_grad=dict(max_norm=35.0),  # in place of Darknet's max_delta, which clips each box gradient
    accumulative_counts=4,
)
schedule_hook = dict(
    type='mmcnn.ScheduleHook',
    schedule='step',
    milestones=(0.8, 0.9),
    gamma=0.1,
    warmup_epochs=0.0,
    warmup_min_iters=1000,
    warmup_in_steps=True,
    warmup_power=4.0,
    warmup_bias_lr=None,
    warmup_momentum=None,
)
custom_hooks = [schedule_hook]
