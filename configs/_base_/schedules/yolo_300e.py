# SGD as YOLOv5 and WongKinYiu's YOLOv4: 300 epochs, cosine to a tenth, 64 images a step, EMA.
# The loss is 64 times the mean of a micro-batch, so the recipe is the same however 64 images are cut up: batch_size
# times GPUs times accumulative_counts has to give nominal_batch_size. tools/train.py sets them so; MMDetection's own
# tools take them as they stand here.
max_epochs = 300
nominal_batch_size = 64

train_cfg = dict(type='mmcnn.ResumableTrainLoop', max_epochs=max_epochs, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = None  # mmcnn.ScheduleHook sets lr and momentum
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.937, weight_decay=5e-4, nesterov=True),
    constructor='mmcnn.YOLOOptimWrapperConstructor',
    accumulative_counts=4,
)
schedule_hook = dict(type='mmcnn.ScheduleHook', schedule='cosine', lr_final=0.1, warmup_epochs=3.0)
ema_hook = dict(type='mmcnn.StepEMAHook')
custom_hooks = [schedule_hook, ema_hook]
