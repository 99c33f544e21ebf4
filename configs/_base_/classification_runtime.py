_base_ = ['default_runtime.py']
default_hooks = dict(
    _delete_=True,
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='mmcnn.AtomicCheckpointHook', interval=1, max_keep_ckpts=3, save_best='accuracy/top1'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    bn_statistics=dict(type='mmcnn.BNStatisticsHook'),
)
visualizer = dict(type='Visualizer')
